/** What is known of a public registry before the file says anything. */
export interface Registry {
  readonly name: string;
  readonly url: string;
  /** Other names that clients use for the same registry. */
  readonly aliases: readonly string[];
}

export const DOCKER_HUB = 'docker.io';

/** The upstream of a request that names none, when the file says nothing. */
export const DEFAULT_UPSTREAM = DOCKER_HUB;

/** The registries that can be pulled from without an account: what runs when no file says else. */
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
