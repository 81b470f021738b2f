import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** A registry as it is known without the configuration file. */
export interface WellKnownRegistry {
  readonly name: string;
  readonly url: string;
  /** Other names that clients use for the same registry. */
  readonly aliases: readonly string[];
  /** Hosts of its web pages, and short names, that people write for it. */
  readonly mistaken: readonly string[];
}

export const DOCKER_HUB = 'docker.io';

/** The upstream of a request that names none, when the file says nothing. */
export const DEFAULT_UPSTREAM = DOCKER_HUB;

/** Public registries that need no account: the upstreams of a file without `upstreams`. */
export const WELL_KNOWN_REGISTRIES: readonly WellKnownRegistry[] = [
  {
    name: DOCKER_HUB,
    url: 'https://registry-1.docker.io',
    aliases: ['index.docker.io', 'registry-1.docker.io'],
    mistaken: [
      'docker',
      'dockerhub',
      'docker-hub',
      'docker.com',
      'www.docker.com',
      'hub.docker.com',
      'registry.hub.docker.com',
      'cloud.docker.com',
      'app.docker.com',
      'registry.docker.com',
      'hub.docker.io',
      'registry.docker.io',
    ],
  },
  registryAt('ghcr.io', ['ghcr', 'github.com', 'docker.pkg.github.com']),
  registryAt('quay.io', ['quay', 'www.quay.io']),
  registryAt('gcr.io', ['gcr', 'console.cloud.google.com']),
  ...['us.gcr.io', 'eu.gcr.io', 'asia.gcr.io', 'mirror.gcr.io'].map((name) => registryAt(name)),
  registryAt('registry.k8s.io', ['k8s.io']),
  registryAt('mcr.microsoft.com', ['mcr']),
  registryAt('public.ecr.aws', ['gallery.ecr.aws', 'ecr-public']),
  registryAt('nvcr.io', ['ngc.nvidia.com', 'catalog.ngc.nvidia.com']),
  registryAt('registry.gitlab.com', ['gitlab.com']),
  registryAt('icr.io', ['cloud.ibm.com']),
  registryAt('registry.access.redhat.com', ['catalog.redhat.com']),
];

/** The registry of a name; one that is not well known is reached at its own name. */
export function registryOf(name: string): WellKnownRegistry {
  return WELL_KNOWN_REGISTRIES.find((known) => known.name === name) ?? registryAt(name);
}

/** The name under which an upstream is configured: `index.docker.io` is `docker.io`. */
export function canonicalRegistryName(name: string): string {
  return WELL_KNOWN_REGISTRIES.find(({ aliases }) => aliases.includes(name))?.name ?? name;
}

function registryAt(name: string, mistaken: readonly string[] = []): WellKnownRegistry {
  return { name, url: `https://${name}`, aliases: [], mistaken };
}

/** The well-known registry that a host or a short name means, its web pages among them. */
export function findRegistry(host: string): WellKnownRegistry | undefined {
  return WELL_KNOWN_REGISTRIES.find(({ name, aliases, mistaken }) =>
    [name, ...aliases, ...mistaken].includes(host),
  );
}

const LABEL = '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?';
const HOST = new RegExp(`^(${LABEL}(?:\\.${LABEL})*)(?::([1-9]\\d{0,4}))?$`);

/** Hosts of the well-known registries at which they do not answer, as a part of an expression. */
const SILENT_HOSTS = WELL_KNOWN_REGISTRIES.flatMap(({ name, url, aliases, mistaken }) =>
  [name, ...aliases, ...mistaken].filter(
    (host) => host.includes('.') && host !== new URL(url).host,
  ),
).map((host) => host.replaceAll('.', '\\.'));
const OTHER_NAMES = WELL_KNOWN_REGISTRIES.flatMap(({ aliases, mistaken }) => [
  ...aliases,
  ...mistaken,
]).map((name) => name.replaceAll('.', '\\.'));

/** The written form of a registry's name with what comes behind it, for editors. */
export function registryForm(end: '$' | '/'): string {
  const name = HOST.source.slice(1, -1);
  return `^(?![^/]*:443${end})(?!(?:${OTHER_NAMES.join('|')})${end})(?=[^/]*[.:]|localhost${end})${name}${end}`;
}

/** The written form of an upstream's url, for editors. */
export const URL_FORM = `^https?://(?!(?:${SILENT_HOSTS.join('|')})(?:[/?]|$))(?!.*/v[12]/?$)[^@/?#]+(?:[/?][^#]*)?$`;

/** The written form of a value of `hosts`, for editors. */
export const HOST_FORM = `^(?!.*:(?:80|443)$)${HOST.source.slice(1)}`;

/** A `Host` header's value in lower case: host, and a port where there is one. */
export function isHost(text: string): boolean {
  const [, host, port = '1'] = HOST.exec(text) ?? [];
  return host !== undefined && text.length <= 255 && Number(port) <= 65_535;
}

/**
 * The host and port that a text means, which may be a web address, in capitals, or have the port
 * that https has anyway.
 */
export function hostMeant(text: string): string {
  return text
    .toLowerCase()
    .replace(/^[a-z]+:\/\//, '')
    .replace(/\/.*$/, '')
    .replace(/^.*@/, '')
    .replace(/_(?=\d+$)/, ':')
    .replace(/\.?(?::443)?$/, '');
}

/** The name of the registry that a text means; `undefined` where it cannot be one. */
export function registryNameMeant(text: string): string | undefined {
  const host = hostMeant(text);
  const name = findRegistry(host)?.name ?? host;
  return isRegistryName(name) ? name : undefined;
}

/**
 * The name of a registry as references write it. Throws a `ConfigError` that says what to write.
 */
export function parseRegistryName(text: string): string {
  const name = registryNameMeant(text);
  if (name === undefined) throw new ConfigError([TEXTS.registryName]);
  if (name !== text) throw new ConfigError([TEXTS.registryNamed({ name })]);
  return name;
}

/** A word without a dot and a port in front of a repository is a part of the repository. */
function isRegistryName(text: string): boolean {
  return isHost(text) && (/[.:]/.test(text) || text === 'localhost');
}

/** A value of a `Host` header as it is looked up. Throws a `ConfigError` that says what to write. */
export function parseHost(text: string): string {
  const host = hostMeant(text).replace(/:80$/, '');
  if (!isHost(host)) throw new ConfigError([TEXTS.host]);
  if (host !== text) throw new ConfigError([TEXTS.writeName({ name: host })]);
  return host;
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
