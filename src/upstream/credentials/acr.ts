import {
  AzureAuthorityHosts,
  ClientSecretCredential,
  DefaultAzureCredential,
  type TokenCredential,
} from '@azure/identity';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Issued } from '../expiring-value.ts';
import { parseJsonObject } from '../../net/content-coding.ts';
import type { Sender } from '../../net/transport.ts';
import { firstLine, inOneLine } from './ask-provider.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface AzureParts {
  readonly upstream: string;
  readonly tenant?: string | undefined;
  readonly client?: string | undefined;
  /** With it, a service principal; without, the identity of the workload or the machine. */
  readonly secret?: string | undefined;
  /** The registry's `/v2/`. */
  readonly registry: URL;
  readonly sender: Sender;
  readonly signal: AbortSignal;
}

/** The same one in every Azure cloud. */
const SCOPE = 'https://containerregistry.azure.net/.default';
const MAX_ANSWER_BYTES = 1024 * 1024;
const UNKNOWN_LIFE_MS = 10 * 60_000;
/** Credentials of developer tools, which the default chain tries last and a server does not have. */
const DEVELOPER_TOOLS = /Visual Studio|Azure CLI|Developer CLI|PowerShell|broker/i;

/**
 * A refresh token of an Azure registry: a token of the identity, exchanged by the registry itself.
 * @see https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
 */
export async function issueFromAzure(parts: AzureParts): Promise<Issued<Credential>> {
  const identity = await inOneLine(async () => {
    const answer = await createCredential(parts).getToken(SCOPE, {
      abortSignal: parts.signal,
      requestOptions: { timeout: 4_000 },
    });
    if (!answer) throw new Error(TEXTS.noAccessToken);
    return answer.token;
  }, tellError);
  const token = await exchange(identity, parts);
  const value = { kind: 'identity-token', token } as const;
  return { value, expiresAt: readExpiry(token), lifeMs: UNKNOWN_LIFE_MS };
}

function createCredential({ tenant, client, secret, registry }: AzureParts): TokenCredential {
  const authorityHost = authorityOf(registry.hostname);
  const options = {
    ...(authorityHost !== undefined && { authorityHost }),
    // The authority is Azure's own or the operator's, and may be unknown to Microsoft.
    disableInstanceDiscovery: true,
    retryOptions: { maxRetries: 1, retryDelayInMs: 200 },
  };
  if (secret !== undefined) {
    return new ClientSecretCredential(tenant ?? '', client ?? '', secret, options);
  }
  return new DefaultAzureCredential({
    ...options,
    ...(tenant !== undefined && { tenantId: tenant }),
    ...(client !== undefined && { managedIdentityClientId: client }),
  });
}

/** Sovereign clouds show in the registry's name; otherwise AZURE_AUTHORITY_HOST has its say. */
function authorityOf(host: string): string | undefined {
  if (host.endsWith('.azurecr.cn')) return AzureAuthorityHosts.AzureChina;
  if (host.endsWith('.azurecr.us')) return AzureAuthorityHosts.AzureGovernment;
  return undefined;
}

async function exchange(
  identity: string,
  { upstream, tenant, registry, sender, signal }: AzureParts,
): Promise<string> {
  const url = new URL('/oauth2/exchange', registry);
  const form = new URLSearchParams({ grant_type: 'access_token', service: registry.host });
  if (tenant !== undefined) form.set('tenant', tenant);
  form.set('access_token', identity);
  const response = await sender.send({
    method: 'POST',
    url,
    headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
    signal,
  });
  const { status } = response;
  const bytes = await response.read(MAX_ANSWER_BYTES);
  const token = parseJsonObject(bytes)?.['refresh_token'];
  if (status === 200 && typeof token === 'string' && token !== '') return token;
  const reason =
    status === 200
      ? TEXTS.noRefreshToken({ host: url.host })
      : TEXTS.exchangeAnswered({ host: url.host, status });
  throw new UpstreamError(upstream, faultOf(status), reason, { status });
}

function faultOf(status: number): UpstreamError['fault'] {
  if (status === 429) return 'rate-limited';
  if (status >= 500) return 'failing';
  return status >= 400 && status !== 404 ? 'unauthorized' : 'bad-response';
}

/** The `exp` of a JWT in milliseconds since 1970. */
function readExpiry(token: string): number | undefined {
  const claims = parseJsonObject(Buffer.from(token.split('.')[1] ?? '', 'base64url'));
  const seconds = claims?.['exp'];
  return typeof seconds === 'number' && Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

/** One reason for each identity that was tried, without the pointers to manuals. */
function tellError(error: unknown): string {
  const errors = error instanceof Error && 'errors' in error ? error.errors : undefined;
  if (!Array.isArray(errors)) return firstLine(error);
  const reasons = errors
    .map((each) => firstLine(each).replace(/\.? *(To troubleshoot, visit|See https:).*$/, ''))
    .filter((reason) => !DEVELOPER_TOOLS.test(reason));
  return TEXTS.noIdentity({ reasons: reasons.join('; ') });
}
