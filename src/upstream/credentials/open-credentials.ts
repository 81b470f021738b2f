import type { CredentialsConfig } from '../../config/config.ts';
import type { Sender } from '../transport.ts';
import type { CredentialSource } from './credential.ts';
import { FixedCredential } from './fixed-credential.ts';

export interface CredentialsContext {
  readonly upstream: string;
  /** The registry's `/v2/`. */
  readonly registry: URL;
  /** For providers that ask the registry itself. */
  readonly sender: Sender;
  readonly now: () => number;
}

/** The source of a configured credential. A provider's library loads when it is first asked. */
export function openCredentials(
  config: CredentialsConfig,
  context: CredentialsContext,
): CredentialSource {
  switch (config.provider) {
    case 'password': {
      const { username, password } = config;
      return new FixedCredential(username, { kind: 'password', username, password });
    }
    case 'identity-token':
      return new FixedCredential('identity token', { kind: 'identity-token', token: config.token });
    case 'bearer':
      return new FixedCredential('bearer token', { kind: 'bearer', token: config.token });
    case 'ecr':
    case 'ecr-public':
    case 'gcp':
    case 'acr':
    case 'helper':
    case 'docker-config':
      throw new Error(`${context.upstream}: ${config.provider}`);
  }
}
