import type { Issued } from '../expiring-value.ts';
import { firstLine, inOneLine } from './ask-provider.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface EcrPublicParts {
  /** A profile of the AWS configuration files; without one, the default credential chain. */
  readonly profile?: string | undefined;
  readonly signal: AbortSignal;
}

export interface EcrParts extends EcrPublicParts {
  readonly region: string;
}

/** What both registries of Amazon answer; the token is base64 of `AWS:<password>`. */
interface Authorization {
  readonly authorizationToken?: string | undefined;
  readonly expiresAt?: Date | undefined;
}

/** Few attempts, short waits, and nothing written to the console. */
const CLIENT = {
  maxAttempts: 2,
  requestHandler: {
    connectionTimeout: 3_000,
    requestTimeout: 4_000,
    throwOnRequestTimeout: true,
  },
  logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
} as const;

/** The only region that issues passwords of the public registry. */
const PUBLIC_REGION = 'us-east-1';

/** The password of a private registry of Amazon, for twelve hours. */
export async function issueFromEcr({
  region,
  profile,
  signal,
}: EcrParts): Promise<Issued<Credential>> {
  const { ECRClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr');
  const client = new ECRClient({ ...CLIENT, region, ...(profile !== undefined && { profile }) });
  const command = new GetAuthorizationTokenCommand({});
  return issueBy(client, async () => {
    const { authorizationData } = await client.send(command, { abortSignal: signal });
    return authorizationData?.[0];
  });
}

/** The password of Amazon's public registry, for twelve hours. */
export async function issueFromEcrPublic({
  profile,
  signal,
}: EcrPublicParts): Promise<Issued<Credential>> {
  const { ECRPUBLICClient, GetAuthorizationTokenCommand } =
    await import('@aws-sdk/client-ecr-public');
  const options = { ...CLIENT, region: PUBLIC_REGION };
  const client = new ECRPUBLICClient({ ...options, ...(profile !== undefined && { profile }) });
  const command = new GetAuthorizationTokenCommand({});
  return issueBy(client, async () => {
    const { authorizationData } = await client.send(command, { abortSignal: signal });
    return authorizationData;
  });
}

async function issueBy(
  client: { destroy(): void },
  ask: () => Promise<Authorization | undefined>,
): Promise<Issued<Credential>> {
  try {
    return readAuthorization(await inOneLine(ask, tellError));
  } finally {
    client.destroy();
  }
}

function readAuthorization(data: Authorization | undefined): Issued<Credential> {
  const text = Buffer.from(data?.authorizationToken ?? '', 'base64').toString();
  // The password may hold colons of its own.
  const [, username, password] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (username === undefined || password === undefined) {
    throw new Error(TEXTS.noAuthorization);
  }
  const value = { kind: 'password', username, password } as const;
  return { value, expiresAt: data?.expiresAt?.getTime() };
}

/** `AccessDeniedException: …` for what Amazon refused, else what kept it from being asked. */
function tellError(error: unknown): string {
  const { name, $fault, $response } = error as {
    name?: string;
    $fault?: string;
    $response?: { statusCode?: number };
  };
  const status = $response?.statusCode;
  const line = firstLine(error);
  if ($fault !== undefined) return `${name}: ${line}`;
  return status === undefined ? line : TEXTS.unreadable({ status });
}

function ignore(): void {}
