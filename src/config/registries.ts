import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** A registry as it is known without the configuration file. */
export interface Registry {
  readonly name: string;
  readonly url: string;
  /** Other names that clients use for the same registry. */
  readonly aliases: readonly string[];
}

export const DOCKER_HUB = 'docker.io';

/** The upstream of a request that names none, when the file says nothing. */
export const DEFAULT_UPSTREAM = DOCKER_HUB;

/** Public registries that need no account: the upstreams of a file without `upstreams`. */
export const WELL_KNOWN_REGISTRIES: readonly Registry[] = [
  {
    name: DOCKER_HUB,
    url: 'https://registry-1.docker.io',
    aliases: ['index.docker.io', 'registry-1.docker.io'],
  },
  ...[
    'ghcr.io',
    'quay.io',
    'gcr.io',
    'us.gcr.io',
    'eu.gcr.io',
    'asia.gcr.io',
    'mirror.gcr.io',
    'registry.k8s.io',
    'mcr.microsoft.com',
    'public.ecr.aws',
    'nvcr.io',
    'registry.gitlab.com',
    'icr.io',
    'registry.access.redhat.com',
  ].map(registryAt),
];

/** The registry of a name; one that is not well known is reached at its own name. */
export function registryOf(name: string): Registry {
  return WELL_KNOWN_REGISTRIES.find((registry) => registry.name === name) ?? registryAt(name);
}

/** The name under which an upstream is configured: `index.docker.io` is `docker.io`. */
export function canonicalRegistryName(name: string): string {
  return WELL_KNOWN_REGISTRIES.find(({ aliases }) => aliases.includes(name))?.name ?? name;
}

function registryAt(name: string): Registry {
  return { name, url: `https://${name}`, aliases: [] };
}

const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)(?::([1-9]\\d{0,4}))?$`);

/** A `Host` header's value in lower case: host, and a port where there is one. */
export function isHost(text: string): boolean {
  const [, host, port = '1'] = HOST.exec(text) ?? [];
  return host !== undefined && text.length <= 255 && Number(port) <= 65_535;
}

/**
 * The name of a registry as references write it. Throws a `ConfigError` that says what to write.
 */
export function parseRegistryName(text: string): string {
  const host = text
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '');
  const name = canonicalRegistryName(host);
  if (!isRegistryName(name)) throw new ConfigError([TEXTS.registryName]);
  if (name !== text) throw new ConfigError([TEXTS.registryNamed({ name })]);
  return name;
}

/** A word without a dot and a port in front of a repository is a part of the repository. */
function isRegistryName(text: string): boolean {
  return isHost(text) && (/[.:]/.test(text) || text === 'localhost');
}

/**
 * The name as the first component of a repository path, where a colon is not legal. Names hold no
 * underscore, so two names never have one alias.
 */
export function pathAlias(name: string): string {
  return name.replace(':', '_');
}

/** Hosts of ECR in the public and the government clouds of Amazon. */
const ECR_HOST =
  /^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$/;

/**
 * The region that the address of a private ECR registry names; none for other addresses.
 * @see https://github.com/awslabs/amazon-ecr-credential-helper/blob/main/ecr-login/api/client.go
 */
export function findEcrRegion(url: string): string | undefined {
  return ECR_HOST.exec(new URL(url).hostname)?.[1];
}
