import type { Issued } from '../expiring-value.ts';
import { firstLine } from './ask-cloud.ts';
import type { Credential } from './credential.ts';

/** What both registries of Amazon answer; the token is base64 of `AWS:<password>`. */
interface EcrAuthorization {
  readonly authorizationToken?: string | undefined;
  readonly expiresAt?: Date | undefined;
}

/** For the clients of both: few attempts, short waits, and nothing written to the console. */
export const ECR_CLIENT = {
  maxAttempts: 2,
  requestHandler: {
    connectionTimeout: 3_000,
    requestTimeout: 4_000,
    throwOnRequestTimeout: true,
  },
  logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
} as const;

export function readEcrAuthorization(data: EcrAuthorization | undefined): Issued<Credential> {
  const text = Buffer.from(data?.authorizationToken ?? '', 'base64').toString();
  // The password may hold colons of its own.
  const [, username, password] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (username === undefined || password === undefined) {
    throw new Error('an answer without an authorization token');
  }
  const value = { kind: 'password', username, password } as const;
  return { value, expiresAt: data?.expiresAt?.getTime() };
}

/** `AccessDeniedException: …` for what Amazon refused, else what kept it from being asked. */
export function tellEcrError(error: unknown): string {
  const { name, $fault, $response } = error as {
    name?: string;
    $fault?: string;
    $response?: { statusCode?: number };
  };
  const status = $response?.statusCode;
  const line = firstLine(error);
  if ($fault !== undefined) return `${name}: ${line}`;
  return status === undefined ? line : `an answer with status ${status} that cannot be read`;
}

function ignore(): void {}
