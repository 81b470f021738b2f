import type { CredentialsConfig } from './config.ts';
import type { CredentialsDocument } from './credentials-schema.ts';
import { findEcrRegion } from './ecr-region.ts';
import { canonicalRegistryName, DOCKER_HUB } from './registries.ts';

/** What `docker login` calls Docker Hub. */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/** An entry with what the upstream's URL adds to it; `findConflicts` has found a region. */
export function resolveCredentials(entry: CredentialsDocument, url: string): CredentialsConfig {
  switch (entry.provider) {
    case 'ecr':
      return { ...entry, region: entry.region ?? findEcrRegion(url) ?? '' };
    case 'helper':
    case 'docker-config':
      return { ...entry, server: entry.server ?? serverOf(url) };
    case 'password':
    case 'identity-token':
    case 'bearer':
    case 'ecr-public':
    case 'gcp':
    case 'acr':
      return entry;
  }
}

/** By the host that is dialled: another one's account must not go there. */
function serverOf(url: string): string {
  const { host } = new URL(url);
  return canonicalRegistryName(host) === DOCKER_HUB ? DOCKER_HUB_SERVER : host;
}
