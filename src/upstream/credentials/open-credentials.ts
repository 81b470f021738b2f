import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig } from '../../config/config.ts';
import type { Issued } from '../expiring-value.ts';
import type { Sender } from '../../net/transport.ts';
import type { Secrets } from '../secrets.ts';
import {
  IssuedCredential,
  secretOf,
  type Credential,
  type CredentialSource,
} from './credential.ts';
import { issueFromHelper } from './credential-helper.ts';
import { issueFromDockerConfig } from './docker-config.ts';

export interface CredentialsContext {
  readonly upstream: string;
  /** The registry's `/v2/`. */
  readonly registry: URL;
  /** For providers that ask the registry itself. */
  readonly sender: Sender;
  readonly clock: Clock;
  /** What is opened is one more. */
  readonly secrets: Secrets;
  /** Aborts when the mirror closes. */
  readonly closing?: AbortSignal | undefined;
}

type FixedConfig = Extract<
  CredentialsConfig,
  { provider: 'password' | 'identity-token' | 'bearer' }
>;
type IssuedConfig = Exclude<CredentialsConfig, FixedConfig>;

/** The source of a configured credential. A provider's library loads when it is first asked. */
export function openCredentials(
  config: CredentialsConfig,
  context: CredentialsContext,
): CredentialSource {
  switch (config.provider) {
    case 'password': {
      const { username, password } = config;
      return fixed(username, { kind: 'password', username, password }, context);
    }
    case 'identity-token':
      return fixed('identity token', { kind: 'identity-token', token: config.token }, context);
    case 'bearer':
      return fixed('bearer token', { kind: 'bearer', token: config.token }, context);
    case 'ecr':
    case 'ecr-public':
    case 'gcp':
    case 'acr':
    case 'helper':
    case 'docker-config': {
      const issue = async (signal: AbortSignal): Promise<Issued<Credential>> =>
        issueFrom(config, { ...context, signal });
      if (config.provider === 'acr' && config.secret !== undefined) {
        context.secrets.add(config.secret);
      }
      return new IssuedCredential({ ...context, label: labelOf(config), issue });
    }
  }
}

/** A credential that the configuration holds, which is never replaced. */
function fixed(
  label: string,
  credential: Credential,
  { secrets }: Pick<CredentialsContext, 'secrets'>,
): CredentialSource {
  secrets.add(secretOf(credential));
  return { label, get: async () => credential, refuse: () => false };
}

async function issueFrom(
  config: IssuedConfig,
  context: CredentialsContext & { readonly signal: AbortSignal },
): Promise<Issued<Credential>> {
  const { signal } = context;
  switch (config.provider) {
    case 'ecr':
      return (await import('./ecr.ts')).issueFromEcr({ ...config, signal });
    case 'ecr-public':
      return (await import('./ecr.ts')).issueFromEcrPublic({ ...config, signal });
    case 'gcp':
      return (await import('./gcp.ts')).issueFromGoogle({ ...config, signal });
    case 'acr':
      return (await import('./acr.ts')).issueFromAzure({ ...context, ...config });
    case 'helper':
      return issueFromHelper(config);
    case 'docker-config':
      return issueFromDockerConfig(config);
  }
}

/** Two accounts of one provider are told apart by what their entries name. */
function labelOf(config: IssuedConfig): string {
  switch (config.provider) {
    case 'ecr':
    case 'ecr-public':
      return named(config.provider, config.profile);
    case 'acr':
      return named('acr', config.client);
    case 'helper':
      return named('helper', config.name);
    case 'gcp':
    case 'docker-config':
      return config.provider;
  }
}

function named(provider: string, name: string | undefined): string {
  return name === undefined ? provider : `${provider} ${name}`;
}
