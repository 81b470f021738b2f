import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig } from '../../config/config.ts';
import { readSecret } from '../../config/credentials-schema.ts';
import { HeldFiles, type HeldFilesParts } from '../../config/held-files.ts';
import type { Log } from '../../observe/log.ts';
import type { Issued } from '../expiring-value.ts';
import type { Sender } from '../../net/transport.ts';
import type { Secrets } from '../secrets.ts';
import { IssuedCredential, type Credential, type CredentialSource } from './credential.ts';
import { issueFromHelper } from './credential-helper.ts';
import { issueFromDockerConfig, readDockerConfig, type DockerConfig } from './docker-config.ts';
import { TEXTS } from '../texts.ts';

export interface CredentialsContext {
  readonly upstream: string;
  /** The registry's `/v2/`. */
  readonly registry: URL;
  /** For providers that ask the registry itself. */
  readonly sender: Sender;
  readonly clock: Clock;
  /** What is opened is one more. */
  readonly secrets: Secrets;
  readonly log: Log;
  /** Told when an issued one ends, milliseconds since 1970, where its issuer says. */
  readonly ending?: (label: string, at: number) => void;
  /** Aborts when the mirror closes. */
  readonly closing?: AbortSignal | undefined;
}

type FixedConfig = Extract<
  CredentialsConfig,
  { provider: 'password' | 'identity-token' | 'bearer' }
>;
type IssuedConfig = Exclude<CredentialsConfig, FixedConfig>;
/** The configured source, with the content of Docker's file where that is the source. */
type Basis = IssuedConfig & { readonly document?: DockerConfig };

/** The source of a configured credential. A provider's library loads when it is first asked. */
export function openCredentials(
  config: CredentialsConfig,
  context: CredentialsContext,
): CredentialSource {
  switch (config.provider) {
    case 'password': {
      const { username, password: secret } = config;
      const kind = 'password';
      return configured(username, config, secret, context, (password) => ({
        kind,
        username,
        password,
      }));
    }
    case 'identity-token':
    case 'bearer': {
      const { provider: kind, token: secret } = config;
      const label = kind === 'bearer' ? 'bearer token' : 'identity token';
      return configured(label, config, secret, context, (token) => ({ kind, token }));
    }
    case 'ecr':
    case 'ecr-public':
    case 'gcp':
    case 'acr':
    case 'helper':
    case 'docker-config': {
      const label = labelOf(config);
      const basis = basisOf(config, label, context);
      const issue = async (signal: AbortSignal): Promise<Issued<Credential>> =>
        issueFrom(basis?.current ?? config, { ...context, signal });
      if (config.provider === 'acr' && config.secret !== undefined) {
        context.secrets.add(config.secret);
      }
      return new IssuedCredential({ ...context, label, issue, basis });
    }
  }
}

/** A credential that the configuration holds: of a file, as that is now; else it is never replaced. */
function configured(
  label: string,
  { provider, file }: FixedConfig,
  secret: string,
  context: CredentialsContext,
  create: (secret: string) => Credential,
): CredentialSource {
  const value = create(secret);
  context.secrets.add(secret);
  if (file === undefined) return { label, get: async () => value, refuse: () => false };
  const read = (): Credential => {
    const text = readSecret(provider, file);
    context.secrets.add(text);
    return create(text);
  };
  const held = new HeldFiles<Credential>({
    paths: [file],
    value,
    read,
    ...tellers(file, label, context),
  });
  return {
    label,
    get: async () => held.current,
    refuse: (credential) => held.again() !== credential,
  };
}

/** What a provider is asked with that stands in a file, as that is now. */
function basisOf(
  config: IssuedConfig,
  label: string,
  context: CredentialsContext,
): HeldFiles<Basis> | undefined {
  const file = 'file' in config ? config.file : undefined;
  if (file === undefined) return undefined;
  const told = { paths: [file], ...tellers(file, label, context) };
  if (config.provider === 'docker-config') {
    return new HeldFiles<Basis>({
      ...told,
      read: () => ({ ...config, document: readDockerConfig(file) }),
    });
  }
  const read = (): Basis => {
    const secret = readSecret(config.provider, file);
    context.secrets.add(secret);
    if (config.provider === 'gcp') return { ...config, key: secret };
    return config.provider === 'acr' ? { ...config, secret } : config;
  };
  return new HeldFiles<Basis>({ ...told, value: config, read });
}

function tellers(
  file: string,
  account: string,
  { upstream, log, secrets }: CredentialsContext,
): Pick<HeldFilesParts<unknown>, 'failed' | 'renewed'> {
  return {
    failed: (reason) =>
      log.warn({ upstream, account, file, reason: secrets.redact(reason) }, TEXTS.secretKept),
    renewed: () => log.info({ upstream, account, file }, TEXTS.secretRenewed),
  };
}

async function issueFrom(
  config: Basis,
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
