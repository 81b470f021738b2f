import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig } from '../../config/config.ts';
import type { Issued } from '../expiring-value.ts';
import type { Sender } from '../../net/transport.ts';
import { IssuedCredential, type Credential, type CredentialSource } from './credential.ts';
import { issueFromHelper } from './credential-helper.ts';
import { issueFromDockerConfig } from './docker-config.ts';

export interface CredentialsContext {
  readonly upstream: string;
  /** The registry's `/v2/`. */
  readonly registry: URL;
  /** For providers that ask the registry itself. */
  readonly sender: Sender;
  readonly clock: Clock;
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
      return fixed(username, { kind: 'password', username, password });
    }
    case 'identity-token':
      return fixed('identity token', { kind: 'identity-token', token: config.token });
    case 'bearer':
      return fixed('bearer token', { kind: 'bearer', token: config.token });
    case 'ecr':
    case 'ecr-public':
    case 'gcp':
    case 'acr':
    case 'helper':
    case 'docker-config': {
      const { upstream, clock } = context;
      const issue = async (): Promise<Issued<Credential>> => issueFrom(config, context);
      return new IssuedCredential({ upstream, label: labelOf(config), issue, clock });
    }
  }
}

/** A credential that the configuration holds, which is never replaced. */
function fixed(label: string, credential: Credential): CredentialSource {
  return { label, get: async () => credential, refuse: () => false };
}

async function issueFrom(
  config: IssuedConfig,
  context: CredentialsContext,
): Promise<Issued<Credential>> {
  switch (config.provider) {
    case 'ecr':
      return (await import('./ecr.ts')).issueFromEcr(config);
    case 'ecr-public':
      return (await import('./ecr.ts')).issueFromEcrPublic(config);
    case 'gcp':
      return (await import('./gcp.ts')).issueFromGoogle(config);
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
