import { formatByteSize, formatRate } from './byte-size.ts';
import type {
  Config,
  CredentialsConfig,
  ListenConfig,
  StoreConfig,
  TagsConfig,
  UpstreamConfig,
} from './config.ts';
import { formatDuration } from './duration.ts';
import { formatListenAddress } from './listen.ts';
import type { SyncConfig, SyncRule, TagSelection } from './sync-config.ts';
import { formatUpstreamUrl } from './upstream-url.ts';

const HIDDEN = '(hidden)';

/** The configuration in the keys of the file, with all defaults and without secrets. */
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
    ...(config.sync && { sync: describeSync(config.sync) }),
  };
}

function describeListen({ tls, ...address }: ListenConfig) {
  const text = formatListenAddress(address);
  return tls ? { address: text, tls: { ...tls } } : text;
}

function describeStore({ path, maxBytes, minFreeBytes, durability, pins, inUse }: StoreConfig) {
  return {
    path,
    maxBytes: formatByteSize(maxBytes),
    minFreeBytes: formatByteSize(minFreeBytes),
    durability,
    pins: [...pins],
    ...(inUse !== undefined && { inUse }),
  };
}

function describeUpstream(upstream: UpstreamConfig) {
  const { credentials, tls, proxy, hosts, allow, deny, concurrency, tags } = upstream;
  const { bytesPerSecond } = upstream;
  const [account = 'anonymous', ...others] = credentials.map(describeCredentials);
  return {
    url: formatUpstreamUrl(upstream),
    credentials: others.length === 0 ? account : [account, ...others],
    tls: {
      ...(tls.ca !== undefined && { ca: '(set)' }),
      ...(tls.cert !== undefined && { cert: '(set)', key: HIDDEN }),
      insecure: tls.insecure,
    },
    proxy: proxy === undefined ? 'none' : withoutPassword(proxy),
    hosts: [...hosts],
    allow: [...allow],
    deny: [...deny],
    concurrency,
    hydrate: upstream.hydrate,
    bandwidth: bytesPerSecond === undefined ? 'unlimited' : formatRate(bytesPerSecond),
    tags: describeTags(tags),
  };
}

function describeCredentials(credentials: CredentialsConfig) {
  switch (credentials.provider) {
    case 'password':
      return { username: credentials.username, password: HIDDEN };
    case 'identity-token':
      return { identityToken: HIDDEN };
    case 'bearer':
      return { token: HIDDEN };
    case 'gcp':
      return { ...credentials, ...('key' in credentials && { key: HIDDEN }) };
    case 'acr':
      return { ...credentials, ...('secret' in credentials && { secret: HIDDEN }) };
    case 'ecr':
    case 'ecr-public':
    case 'helper':
    case 'docker-config':
      return { ...credentials };
  }
}

function withoutPassword(proxy: string): string {
  const { protocol, host, username, password } = new URL(proxy);
  return username === '' && password === '' ? proxy : `${protocol}//${HIDDEN}@${host}`;
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

/**
 * The `sync` key with all defaults; the rules of all files, each with its place.
 */
export function describeSync(sync: SyncConfig) {
  const { schedule, timezone, windows, bytesPerSecond, jitterMs, concurrency } = sync;
  return {
    schedule,
    timezone: timezone ?? "the machine's",
    windows: windows.map(({ opens, forMs }) => ({ opens, for: formatDuration(forMs) })),
    bandwidth: bytesPerSecond === undefined ? 'unlimited' : formatRate(bytesPerSecond),
    jitter: formatDuration(jitterMs),
    concurrency,
    releaseShare: `${Number((sync.releaseShare * 100).toFixed(6))}%`,
    rules: sync.rules.map(describeRule),
  };
}

function describeRule({ path, freshMs, ...rule }: SyncRule) {
  const { image, tags, digests, platforms, referrers, priority, removed } = rule;
  return {
    from: path,
    image,
    tags: describeSelection(tags),
    digests: [...digests],
    platforms: platforms === 'all' ? platforms : [...platforms],
    referrers,
    priority,
    fresh: formatDuration(freshMs),
    removed,
  };
}

function describeSelection({ names, globs, regexes, semver, newest, exclude }: TagSelection) {
  return {
    ...(names.length > 0 && { names: [...names] }),
    ...(globs.length > 0 && { globs: [...globs] }),
    ...(regexes.length > 0 && { regex: [...regexes] }),
    ...(semver !== undefined && { semver }),
    ...(newest && { newest: { ...newest } }),
    ...(exclude.length > 0 && { exclude: [...exclude] }),
  };
}
