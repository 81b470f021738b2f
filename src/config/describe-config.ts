import { formatByteSize } from './byte-size.ts';
import type {
  Config,
  CredentialsConfig,
  ListenConfig,
  StoreConfig,
  TagsConfig,
  UpstreamConfig,
} from './config.ts';
import { formatDuration } from './duration.ts';
import { formatListenAddress } from './listen-address.ts';

/** What is in force, in the words of the file and without a secret. */
export function describeConfig(config: Config) {
  const { listen, admin, offline, store, defaultUpstream, upstreams } = config;
  return {
    listen: describeListen(listen),
    admin: describeListen(admin),
    offline,
    store: describeStore(store),
    defaultUpstream,
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, upstream]) => [name, describeUpstream(upstream)]),
    ),
  };
}

function describeListen({ tls, ...address }: ListenConfig) {
  const text = formatListenAddress(address);
  return tls ? { address: text, tls: { ...tls } } : text;
}

function describeStore({ path, maxBytes, minFreeBytes, durability }: StoreConfig) {
  return {
    path,
    maxBytes: formatByteSize(maxBytes),
    minFreeBytes: formatByteSize(minFreeBytes),
    durability,
  };
}

function describeUpstream(upstream: UpstreamConfig) {
  const { url, credentials, tls, proxy, hosts, allow, deny, concurrency, tags } = upstream;
  return {
    url,
    credentials: credentials.length === 0 ? 'anonymous' : credentials.map(describeCredentials),
    tls: {
      ...(tls.ca !== undefined && { ca: '(set)' }),
      ...(tls.cert !== undefined && { cert: '(set)', key: '(hidden)' }),
      insecure: tls.insecure,
    },
    proxy: proxy === undefined ? 'none' : withoutPassword(proxy),
    hosts: [...hosts],
    allow: [...allow],
    deny: [...deny],
    concurrency,
    tags: describeTags(tags),
  };
}

const SECRET_FIELDS: ReadonlySet<string> = new Set(['password', 'token', 'key', 'secret']);

function describeCredentials(credentials: CredentialsConfig) {
  return Object.fromEntries(
    Object.entries(credentials).map(([name, value]) => [
      name,
      SECRET_FIELDS.has(name) ? '(hidden)' : value,
    ]),
  );
}

function withoutPassword(proxy: string): string {
  const { protocol, host, username, password } = new URL(proxy);
  return username === '' && password === '' ? proxy : `${protocol}//(hidden)@${host}`;
}

function describeTags(tags: TagsConfig) {
  return {
    ttl: formatDuration(tags.ttlMs),
    revalidateTimeout: formatDuration(tags.revalidateTimeoutMs),
    staleIfError: formatDuration(tags.staleIfErrorMs),
    staleWhileRevalidate: formatDuration(tags.staleWhileRevalidateMs),
    negativeTtl: formatDuration(tags.negativeTtlMs),
    immutable: [...tags.immutable],
  };
}
