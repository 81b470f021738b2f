import type { CredentialsDocument } from './credentials-schema.ts';
import { findProxy } from './proxy.ts';
import { DOCKER_HUB, canonicalRegistryName, findEcrRegion, registryOf } from './registries.ts';
import type { ConfigDocument } from './schema.ts';
import type { Environment } from './source.ts';

/** The upstream of the file with the defaults that depend on its name and the environment. */
export function resolveUpstream(
  name: string,
  upstream: ConfigDocument['upstreams'][string],
  env: Environment,
) {
  const { url, credentials, proxy: written, bandwidth, tags, ...rest } = upstream;
  const place = url ?? { url: registryOf(name).url };
  const proxy = written ?? findProxy(place.url, env);
  return {
    ...rest,
    name,
    ...place,
    credentials: (credentials ?? []).map((entry) => resolveCredentials(entry, place.url)),
    ...(proxy !== undefined && { proxy }),
    ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
    tags: {
      ttlMs: tags.ttl,
      revalidateTimeoutMs: tags.revalidateTimeout,
      staleIfErrorMs: tags.staleIfError,
      staleWhileRevalidateMs: tags.staleWhileRevalidate,
      negativeTtlMs: tags.negativeTtl,
      immutable: tags.immutable,
    },
  };
}

/** The name of Docker Hub in the files of `docker login`. */
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

/**
 * The credentials with the defaults of the upstream's URL. `findConflicts` has refused an entry
 * without a region.
 */
function resolveCredentials(entry: CredentialsDocument, url: string) {
  const { provider } = entry;
  if (provider === 'ecr') return { ...entry, region: entry.region ?? findEcrRegion(url) ?? '' };
  if (provider !== 'helper' && provider !== 'docker-config') return entry;
  return { ...entry, server: entry.server ?? serverOf(url) };
}

/** The server of the host that is dialled, so that no other one's account goes there. */
function serverOf(url: string): string {
  const { host } = new URL(url);
  return canonicalRegistryName(host) === DOCKER_HUB ? DOCKER_HUB_SERVER : host;
}
