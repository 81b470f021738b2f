import type { UpstreamConfig } from './config.ts';
import { findProxy } from './proxy.ts';
import { registryOf } from './registries.ts';
import { resolveCredentials } from './resolve-credentials.ts';
import type { ConfigDocument } from './schema.ts';
import type { Environment } from './source.ts';

export type UpstreamDocument = ConfigDocument['upstreams'][string];

/** An upstream with what its name and the environment add to the file. */
export function resolveUpstream(
  name: string,
  upstream: UpstreamDocument,
  env: Environment,
): UpstreamConfig {
  const { credentials, tls, hosts, allow, deny, bandwidth } = upstream;
  const place = upstream.url ?? { url: registryOf(name).url };
  const proxy = upstream.proxy ?? findProxy(place.url, env);
  return {
    name,
    ...place,
    credentials: (credentials ?? []).map((entry) => resolveCredentials(entry, place.url)),
    tls: {
      ...(tls.ca !== undefined && { ca: tls.ca }),
      ...(tls.cert !== undefined && { cert: tls.cert }),
      ...(tls.key !== undefined && { key: tls.key }),
      insecure: tls.insecure,
    },
    ...(proxy !== undefined && { proxy }),
    hosts,
    allow,
    deny,
    concurrency: upstream.concurrency,
    hydrate: upstream.hydrate,
    ...(bandwidth !== undefined && { bytesPerSecond: bandwidth }),
    tags: {
      ttlMs: upstream.tags.ttl,
      revalidateTimeoutMs: upstream.tags.revalidateTimeout,
      staleIfErrorMs: upstream.tags.staleIfError,
      staleWhileRevalidateMs: upstream.tags.staleWhileRevalidate,
      negativeTtlMs: upstream.tags.negativeTtl,
      immutable: upstream.tags.immutable,
    },
  };
}
