import { GoogleAuth, JWT, gcpMetadata, type AuthClient, type gaxios } from 'google-auth-library';
import type { Issued } from '../expiring-value.ts';
import { parseJsonObject } from '../../net/content-coding.ts';
import { firstLine, inOneLine } from './ask-provider.ts';
import type { Credential } from './credential.ts';
import { TEXTS } from '../texts.ts';

export interface GoogleParts {
  /** The text of a service account's JSON key; without it, the application default credentials. */
  readonly key?: string | undefined;
  readonly signal: AbortSignal;
}

const SCOPES = ['https://www.googleapis.com/auth/cloud-platform'];
const TRANSPORT = { timeout: 4_000, retryConfig: { retry: 1, noResponseRetries: 1 } };

/** An access token of Google, which its registries take as a password, for one hour. */
export async function issueFromGoogle({ key, signal }: GoogleParts): Promise<Issued<Credential>> {
  // A kept client would hand out again the token that a registry has just refused.
  const client = async (): Promise<AuthClient> =>
    key === undefined ? createDefaultClient(signal) : createKeyClient(key, signal);
  return inOneLine(async () => readToken(await client()), tellError);
}

async function readToken(client: AuthClient): Promise<Issued<Credential>> {
  const { token } = await client.getAccessToken();
  if (!token) throw new Error(TEXTS.noAccessToken);
  const { expiry_date: expiresAt } = client.credentials;
  return {
    value: { kind: 'password', username: 'oauth2accesstoken', password: token },
    expiresAt: expiresAt ?? undefined,
  };
}

/** Its library ends what runs by the signal, and the process by one that has aborted before that. */
function transportUntil(signal: AbortSignal): gaxios.GaxiosOptions {
  const adapter: gaxios.GaxiosOptions['adapter'] = async (options, send) => {
    signal.throwIfAborted();
    return send({ ...options, signal: AbortSignal.any([signal, options.signal ?? signal]) });
  };
  return { ...TRANSPORT, adapter };
}

function createKeyClient(key: string, signal: AbortSignal): AuthClient {
  const { client_email: email, private_key: secret } = parseJsonObject(Buffer.from(key)) ?? {};
  if (typeof email !== 'string' || typeof secret !== 'string') {
    throw new Error(TEXTS.noServiceAccount);
  }
  const transporterOptions = transportUntil(signal);
  return new JWT({ email, key: secret, scopes: SCOPES, transporterOptions });
}

/** The metadata server is asked without the signal, and for a few seconds only, by the library. */
async function createDefaultClient(signal: AbortSignal): Promise<AuthClient> {
  // A machine whose network came late would stay without its metadata server.
  gcpMetadata.resetIsAvailableCache();
  // Without a project the library looks for one, also by running gcloud; a token needs none.
  const transporterOptions = transportUntil(signal);
  const options = { projectId: 'none', clientOptions: { transporterOptions } };
  return new GoogleAuth({ ...options, scopes: SCOPES }).getClient();
}

/** Google's own words are short JSON; other bodies, such as a proxy's page, are left out. */
function tellError(error: unknown): string {
  const { status, response } = error as { status?: unknown; response?: { data?: unknown } };
  if (typeof status !== 'number') return firstLine(error);
  const { error: code, error_description: text } = (response?.data ?? {}) as Record<
    string,
    unknown
  >;
  const words = [code, text].filter((part) => typeof part === 'string');
  return [TEXTS.googleAnswered({ status }), ...words].join(': ').split(/\r?\n/, 1)[0] ?? '';
}
