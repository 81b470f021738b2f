import type {
  ListenConfig,
  Config,
  CredentialsConfig,
  TagsConfig,
  UpstreamConfig,
} from './config.ts';
import { formatDuration, formatShare, formatByteSize, formatRate } from './quantity.ts';
import { formatListenAddress } from './listen.ts';
import { proxyOf } from './proxy.ts';
import { formatAccess } from './observe-schema.ts';
import type { SyncRule } from './sync-rule-schema.ts';
import type { SyncConfig } from './sync-schema.ts';
import type { TagSelection } from './tag-selection-schema.ts';
import { formatUpstreamUrl } from './upstream-url.ts';

const HIDDEN = '(hidden)';

/** The configuration in the keys of the file, with all defaults and without secrets. */
export function describeConfig({
  listen,
  admin,
  metrics,
  graceMs,
  offline,
  store,
  ...rest
}: Config) {
  const { trustProxy, log, tracing, defaultUpstream, upstreams, sync, bundles, access, admission } =
    rest;
  return {
    listen: describeListen(listen),
    admin: describeListen(admin),
    ...(metrics?.listen && { metrics: { listen: describeListen(metrics.listen) } }),
    trustProxy,
    log: { level: log.level, access: formatAccess(log.access), audit: log.audit ?? 'none' },
    tracing: { otlp: tracing.otlp ?? 'none' },
    grace: formatDuration(graceMs),
    offline,
    store: {
      ...store,
      maxBytes: formatByteSize(store.maxBytes),
      maxBlobShare: formatShare(store.maxBlobShare),
      minFreeBytes: formatByteSize(store.minFreeBytes),
    },
    defaultUpstream,
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, upstream]) => [name, describeUpstream(upstream)]),
    ),
    ...(sync && { sync: describeSync(sync) }),
    ...(access && { access: describeAccess(access) }),
    ...(admission && { admission: describeAdmission(admission) }),
    ...(Object.keys(bundles.trust).length > 0 && { bundles: describeBundles(bundles) }),
  };
}

type AdmissionConfig = NonNullable<Config['admission']>;

function describeAdmission({ trust, scanner, rules }: AdmissionConfig) {
  const described = rules.map(({ minAge, ...rule }) => ({
    ...rule,
    ...(minAge !== undefined && { minAge: formatDuration(minAge) }),
  }));
  return { trust, ...(scanner && { scanner: describeScanner(scanner) }), rules: described };
}

function describeScanner({
  ca,
  token,
  maxAge,
  ...scanner
}: NonNullable<AdmissionConfig['scanner']>) {
  const files = { ...(ca && { ca: ca.path }), ...(token && { token: HIDDEN }) };
  return { ...scanner, ...files, maxAge: formatDuration(maxAge) };
}

type AccessConfig = NonNullable<Config['access']>;

function describeAccess({ token, oidc, kubernetes, rules, ...access }: AccessConfig) {
  return {
    token: { ...token, ttl: formatDuration(token.ttl) },
    ...access,
    ...(oidc && { oidc: oidc.map(describeIssuer) }),
    ...(kubernetes && { kubernetes: kubernetes.map(describeIssuer) }),
    rules,
  };
}

type IssuerConfig = NonNullable<AccessConfig['kubernetes']>[number];

function describeIssuer({ jwks, ...issuer }: IssuerConfig) {
  if ('file' in jwks) return { ...issuer, jwks };
  const { url, ca, token } = jwks;
  return { ...issuer, jwks: { url, ...(ca && { ca: ca.path }), ...(token && { token: HIDDEN }) } };
}

function describeBundles({ trust }: Config['bundles']) {
  const keys = Object.entries(trust).map(([name, { file, may }]) => [
    name,
    { file: file.path, may },
  ]);
  return { trust: Object.fromEntries(keys) as object };
}

function describeListen({ tls, open, ...rest }: ListenConfig) {
  const address = formatListenAddress(rest);
  return tls || open ? { address, ...(tls && { tls }), ...(open && { open }) } : address;
}

function describeUpstream(upstream: UpstreamConfig) {
  const { tls, hosts, storage, realms, allow, deny, concurrency, segments, ranges, hydrate } =
    upstream;
  const proxy = proxyOf(upstream, new URL(upstream.url));
  const [account = 'anonymous', ...others] = upstream.credentials.map(describeCredentials);
  return {
    url: formatUpstreamUrl(upstream),
    credentials: others.length === 0 ? account : [account, ...others],
    tls: {
      ...(tls.ca !== undefined && { ca: '(set)', only: tls.only }),
      system: tls.system,
      ...(tls.cert !== undefined && { cert: '(set)', key: HIDDEN }),
      insecure: tls.insecure,
    },
    proxy: proxy === undefined ? 'none' : withoutPassword(proxy),
    hosts,
    storage,
    realms,
    allow,
    deny,
    concurrency,
    segments,
    ranges,
    hydrate,
    bandwidth: describeBandwidth(upstream),
    tags: describeTags(upstream.tags),
  };
}

function describeBandwidth({ bytesPerSecond }: { readonly bytesPerSecond?: number }): string {
  return bytesPerSecond === undefined ? 'unlimited' : formatRate(bytesPerSecond);
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
      return { provider: 'gcp', ...('key' in credentials && { key: HIDDEN }) };
    case 'acr': {
      const { file: _, ...entry } = credentials;
      return { ...entry, ...('secret' in entry && { secret: HIDDEN }) };
    }
    case 'ecr':
    case 'ecr-public':
    case 'helper':
    case 'docker-config':
      return credentials;
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
    immutable: tags.immutable,
  };
}

/** The `sync` key with all defaults; the rules of all files, each with its place. */
function describeSync(sync: SyncConfig) {
  const { schedule, timezone, windows, concurrency } = sync;
  return {
    schedule,
    timezone: timezone ?? "the machine's",
    windows: windows.map(({ opens, forMs }) => ({ opens, for: formatDuration(forMs) })),
    bandwidth: describeBandwidth(sync),
    jitter: formatDuration(sync.jitterMs),
    concurrency,
    releaseShare: formatShare(sync.releaseShare),
    rules: sync.rules.map(describeRule),
  };
}

function describeRule({ path, tags, freshMs, removed, ...rest }: SyncRule) {
  const { image, ...others } = rest;
  return {
    from: path,
    image,
    tags: describeSelection(tags),
    ...others,
    fresh: formatDuration(freshMs),
    removed,
  };
}

/** Lists that are empty say nothing. */
function describeSelection({ names, globs, regexes, semver, newest, exclude }: TagSelection) {
  return {
    ...(names.length > 0 && { names }),
    ...(globs.length > 0 && { globs }),
    ...(regexes.length > 0 && { regex: regexes }),
    ...(semver !== undefined && { semver }),
    ...(newest && { newest }),
    ...(exclude.length > 0 && { exclude }),
  };
}
