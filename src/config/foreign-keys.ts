import { TEXTS } from './texts.ts';

/** Keys that other programs have for what is another key here. */
interface ForeignKeys {
  /** The map that they stand in; `*` is any registry, `[]` any entry of a list. */
  readonly at: string;
  /** In lower case, letters and digits only: `max_size` and `maxSize` are `maxsize`. */
  readonly keys: string;
  /** What to write in that map; a number or a switch that was written takes the place of `<…>`. */
  readonly write?: string;
  /** In place of `write`, where there is nothing to write. */
  readonly say?: string;
}

const TLS = 'tls: { cert: PATH, key: PATH }';
const ACCOUNT = 'credentials: { username: NAME, password: { file: PATH } }';
const PROXY = 'proxy: http://HOST:PORT';
const ADMISSION =
  '{ rules: [{ images: ["ghcr.io/org/**"], mode: audit, signedBy: [{ key: NAME }] }] }';
const RULE = '{ image: docker.io/library/alpine, tags: [latest] }';

/**
 * Known from distribution, zot, Harbor, Nexus, containerd, Podman and Docker's daemon.json. A key
 * that is only misspelt, or in the wrong map, needs no row: `unknown-key.ts` finds it in the schema.
 */
export const FOREIGN_KEYS: readonly ForeignKeys[] = [
  // The whole file
  { at: '', keys: 'port listenport', write: 'listen: 0.0.0.0:<5000>' },
  { at: '', keys: 'http server address addr bind host', write: 'listen: 0.0.0.0:5000' },
  {
    at: '',
    keys: 'tls https cert certfile tlscert',
    write: `listen: { address: 0.0.0.0:5000, ${TLS} }`,
  },
  {
    at: '',
    keys: 'storage cache cachedir data datadir dataroot dir path root rootdirectory blobstore filesystem',
    write: 'store: { path: PATH, maxBytes: 100GiB }',
  },
  { at: '', keys: 'gc dedupe delete maxsize quota', write: 'store: { maxBytes: 100GiB }' },
  {
    at: '',
    keys: 'proxy remote remotes remoteurl mirror mirrors registry registries registrymirrors extensions url urls endpoint endpoints',
    write: 'upstreams: { docker.io: { url: https://HOST } }',
  },
  {
    at: '',
    keys: 'httpproxy httpsproxy noproxy proxies',
    write: `upstreams: { docker.io: { ${PROXY} } }`,
  },
  {
    at: '',
    keys: 'auth auths authentication configs credentials login password token user username',
    write: `upstreams: { docker.io: { ${ACCOUNT} } }`,
  },
  {
    at: '',
    keys: 'insecureregistries insecureskipverify skipverify tlsverify',
    write: 'upstreams: { docker.io: { tls: { insecure: true } } }',
  },
  {
    at: '',
    keys: 'maxconcurrentdownloads',
    write: 'upstreams: { docker.io: { concurrency: <8> } }',
  },
  { at: '', keys: 'default defaultregistry', write: 'defaultUpstream: docker.io' },
  { at: '', keys: 'health debug api', write: 'admin: 127.0.0.1:5001' },
  { at: '', keys: 'prometheus', write: 'metrics: { listen: 0.0.0.0:9101 }' },
  { at: '', keys: 'pollinterval interval cron', write: "sync: { schedule: '0 * * * *' }" },
  { at: '', keys: 'images preload prefetch warm', write: `sync: { rules: [${RULE}] }` },
  { at: '', keys: 'pin pinned', write: 'store: { pins: [docker.io/library/nginx:1.27] }' },
  { at: '', keys: 'logs logging loglevel level verbose', write: 'log: { level: info }' },
  { at: '', keys: 'accesslog', write: 'log: { access: <true> }' },
  { at: '', keys: 'logformat', say: TEXTS.noLogKeys },
  {
    at: '',
    keys: 'otel opentelemetry otlp telemetry trace traces',
    write: 'tracing: { otlp: http://HOST:4318/v1/traces }',
  },
  {
    at: '',
    keys: 'trustedproxy trustedproxies trustforwardheader realip proxyprotocol',
    write: 'trustProxy: [10.0.0.0/8]',
  },
  { at: '', keys: 'version', say: TEXTS.leaveOut },

  // listen, admin and metrics.listen
  ...['listen', 'admin', 'metrics.listen'].flatMap((at): ForeignKeys[] => [
    { at, keys: 'port', write: 'address: 0.0.0.0:<5000>' },
    { at, keys: 'host bind ip', write: 'address: 0.0.0.0:5000' },
    { at, keys: 'certificate certfile keyfile', write: TLS },
  ]),

  // log and tracing
  { at: 'log', keys: 'accesslog requests sample sampling', write: 'access: <true>' },
  { at: 'log', keys: 'auditlog auditfile', write: 'audit: FILE' },
  { at: 'log', keys: 'format formatter output fields file path', say: TEXTS.noLogKeys },
  {
    at: 'tracing',
    keys: 'endpoint url collector exporter otel',
    write: 'otlp: http://HOST:4318/v1/traces',
  },

  // store
  {
    at: 'store',
    keys: 'dir directory folder root rootdir rootdirectory location filesystem',
    write: 'path: PATH',
  },
  {
    at: 'store',
    keys: 'size max maxsize maxgb limit quota capacity maxthreads',
    write: 'maxBytes: 100GiB',
  },
  { at: 'store', keys: 'free minfree reserve', write: 'minFreeBytes: 2GiB' },
  { at: 'store', keys: 'keep pinned', write: 'pins: [docker.io/library/nginx:1.27]' },

  // One upstream
  {
    at: 'upstreams.*',
    keys: 'baseurl endpoint endpoints location mirror mirrors registry remote remoteurl server upstream',
    write: 'url: https://HOST',
  },
  { at: 'upstreams.*', keys: 'http plainhttp', write: 'url: http://HOST:PORT' },
  {
    at: 'upstreams.*',
    keys: 'namespace ns overridepath prefix project rewrite',
    write: 'url: https://HOST/v2/PREFIX',
  },
  {
    at: 'upstreams.*',
    keys: 'auth auths authentication login password user username',
    write: ACCOUNT,
  },
  {
    at: 'upstreams.*',
    keys: 'insecureskipverify skiptls skiptlsverify skipverify tlsverify verify',
    write: 'tls: { insecure: true }',
  },
  { at: 'upstreams.*', keys: 'cacert cafile cacertificate certdir', write: 'tls: { ca: PATH }' },
  { at: 'upstreams.*', keys: 'client', write: TLS },
  { at: 'upstreams.*', keys: 'httpproxy httpsproxy', write: PROXY },
  {
    at: 'upstreams.*',
    keys: 'cachettl contentmaxage maxage metadatamaxage',
    write: 'tags: { ttl: 5m }',
  },
  { at: 'upstreams.*', keys: 'negativecache', write: 'tags: { negativeTtl: 30s }' },
  { at: 'upstreams.*', keys: 'ratelimit speed', write: 'bandwidth: 50MiB/s' },
  {
    at: 'upstreams.*',
    keys: 'content include repositories whitelist',
    write: "allow: ['library/*']",
  },
  { at: 'upstreams.*', keys: 'blacklist exclude', write: "deny: ['library/*']" },
  { at: 'upstreams.*', keys: 'capabilities ondemand type', say: TEXTS.leaveOut },
  { at: 'upstreams.*.tls', keys: 'insecureskipverify skipverify verify', write: 'insecure: true' },
  { at: 'upstreams.*.tls', keys: 'cacert cafile cacertificate', write: 'ca: PATH' },
  { at: 'upstreams.*.tls', keys: 'certfile clientcert', write: 'cert: PATH' },
  { at: 'upstreams.*.tls', keys: 'clientkey keyfile', write: 'key: PATH' },
  { at: 'upstreams.*.credentials', keys: 'login user name', write: 'username: NAME' },
  { at: 'upstreams.*.credentials', keys: 'passwordfile pass', write: 'password: { file: PATH }' },
  {
    at: 'upstreams.*.credentials',
    keys: 'auth',
    write: 'username: NAME, password: { file: PATH }',
  },

  ...['store', 'sync', 'sync.rules.[]'].map((at) => ({
    at,
    keys: 'auth auths authentication login password token user username',
    say: TEXTS.unknownKeyAtTop({ right: `upstreams: { REGISTRY: { ${ACCOUNT} } }` }),
  })),

  // Admission
  {
    at: '',
    keys: 'policy policies cosign notation sigstore signatures verify verification',
    write: `admission: ${ADMISSION}`,
  },
  {
    at: 'admission.rules.[]',
    keys: 'image repository repositories match',
    write: 'images: ["ghcr.io/org/**"]',
  },
  { at: 'admission.rules.[]', keys: 'enforce action', write: 'mode: enforce' },
  { at: 'admission.rules.[]', keys: 'audit', write: 'mode: audit' },
  {
    at: 'admission.rules.[]',
    keys: 'key keys publickey signers authorities',
    write: 'signedBy: [{ key: NAME }]',
  },
  ...['signedBy', 'attestedBy'].flatMap((list) => [
    { at: `admission.rules.[].${list}.[]`, keys: 'keys name publickey', write: 'key: NAME' },
    { at: `admission.rules.[].${list}.[]`, keys: 'subject email san', write: 'identity: WHO' },
  ]),
  {
    at: 'admission.rules.[].vulnerabilities',
    keys: 'max severity threshold',
    write: 'atMost: medium',
  },
  {
    at: 'admission.trust',
    keys: 'key publickey cosign',
    write: 'keys: { NAME: { file: cosign.pub } }',
  },
  { at: 'admission.trust.keys.*', keys: 'path pem key publickey', write: 'file: cosign.pub' },
  { at: 'admission.trust.notation', keys: 'store truststore', write: 'stores: FOLDER' },
  { at: 'admission.scanner', keys: 'url address endpoint', write: 'adapter: http://HOST:8080' },
  // One rule of access
  {
    at: 'access.rules.[]',
    keys: 'image repo repos repository repositories',
    write: "images: ['ghcr.io/org/**']",
  },
  {
    at: 'access.rules.[]',
    keys: 'user users group groups subject subjects identity identities',
    write: "who: ['user:NAME']",
  },
  {
    at: 'access.rules.[]',
    keys: 'allow verbs actions permissions role roles',
    write: 'may: [pull]',
  },
  { at: 'access.rules.[]', keys: 'deny blacklist except exclude', say: TEXTS.accessNoDeny },

  // sync
  {
    at: 'sync',
    keys: 'content images registries repositories',
    write: `rules: [${RULE}]`,
  },
  { at: 'sync', keys: 'cron interval pollinterval', write: "schedule: '0 * * * *'" },
  { at: 'sync', keys: 'ratelimit speed', write: 'bandwidth: 20MiB/s' },
  { at: 'sync', keys: 'enable enabled ondemand', say: TEXTS.leaveOut },
  {
    at: 'sync.rules.[].tags',
    keys: 'tag name list',
    write: 'names: [latest]',
  },
  { at: 'sync.rules.[].tags', keys: 'regexp pattern patterns', write: "regex: '^v[0-9.]+$'" },
  { at: 'sync.rules.[].tags', keys: 'count keep latest limit', write: 'newest: <5>' },
  {
    at: 'sync.rules.[]',
    keys: 'name prefix repo repository',
    write: 'image: docker.io/library/alpine',
  },
  {
    at: 'sync.rules.[]',
    keys: 'arch architecture architectures os',
    write: 'platforms: [linux/amd64]',
  },
];
