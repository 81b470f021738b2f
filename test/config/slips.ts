/** A file as people write it by mistake, the place that is named, and what they can copy from there. */
export type Slip = readonly [yaml: string, path: string, right: string];

const upstream = (keys: string) => `upstreams: { docker.io: { ${keys} } }`;
const rule = (keys: string) => `sync: { rules: [{ ${keys} }] }`;
const allow = (pattern: string) => upstream(`allow: ['**', '${pattern}']`);

const SIZES: readonly Slip[] = [
  ['store: { maxBytes: 100 }', 'store.maxBytes', '100GiB'],
  ['store: { maxBytes: 10 }', 'store.maxBytes', '10GiB'],
  ["store: { maxBytes: '500' }", 'store.maxBytes', '500GiB'],
  ['store: { maxBytes: 102400 }', 'store.maxBytes', '102400MiB'],
  ['store: { maxBytes: 50000 }', 'store.maxBytes', '50000MiB'],
  ["store: { maxBytes: '104857600' }", 'store.maxBytes', '104857600KiB'],
  ['store: { minFreeBytes: 2048 }', 'store.minFreeBytes', '2048GiB'],
  ['store: { minFreeBytes: 50000 }', 'store.minFreeBytes', '50000MiB'],
  ['store: { maxBlobShare: 50 }', 'store.maxBlobShare', 'write 50%'],
  ['store: { maxBlobShare: 0.5 }', 'store.maxBlobShare', 'write 50%'],
  ['sync: { releaseShare: 20 }', 'sync.releaseShare', 'write 20%'],
  ['sync: { bandwidth: 100G }', 'sync.bandwidth', '100GB/s or 100GiB/s'],
  ['store: { minFreeBytes: 2 }', 'store.minFreeBytes', '2GiB'],
  ['store: { maxBytes: 100G }', 'store.maxBytes', '100GB or 100GiB'],
  ['store: { maxBytes: 1.5t }', 'store.maxBytes', '1.5TB or 1.5TiB'],
  ['store: { maxBytes: 100gb }', 'store.maxBytes', '100GB'],
  ['store: { maxBytes: 100Gi }', 'store.maxBytes', '100GiB'],
  [upstream('bandwidth: 50M'), 'upstreams.docker.io.bandwidth', '50MB/s or 50MiB/s'],
  [upstream('bandwidth: 50MiB'), 'upstreams.docker.io.bandwidth', '50MiB/s'],
  [upstream('bandwidth: 100Mbit/s'), 'upstreams.docker.io.bandwidth', '12500kB/s'],
  ['sync: { bandwidth: 100Mbps }', 'sync.bandwidth', '12500kB/s'],
  [upstream('tags: { ttl: 5 min }'), 'upstreams.docker.io.tags.ttl', '5m'],
  [upstream('tags: { negativeTtl: 1 hour }'), 'upstreams.docker.io.tags.negativeTtl', '1h'],
  ['sync: { jitter: 30seconds }', 'sync.jitter', '30s'],
  ['sync: { defaults: { fresh: 1w } }', 'sync.defaults.fresh', '7d'],
];

const PATTERNS: readonly Slip[] = [
  [allow('^library/'), 'upstreams.docker.io.allow[1]', 'library/**'],
  [allow('library/.*'), 'upstreams.docker.io.allow[1]', 'library/**'],
  [allow('.*'), 'upstreams.docker.io.allow[1]', '**'],
  [allow('org/app$'), 'upstreams.docker.io.allow[1]', '*org/app'],
  [allow('^org/(a|b)$'), 'upstreams.docker.io.allow[1]', 'org/{a,b}'],
  [allow('org/v\\d+'), 'upstreams.docker.io.allow[1]', 'org/v[0-9]*'],
  [upstream("deny: ['org/a|org/b']"), 'upstreams.docker.io.deny[0]', '{org/a,org/b}'],
  [
    upstream("tags: { immutable: ['*:^v1'] }"),
    'upstreams.docker.io.tags.immutable[0]',
    '"^v1" is a regular expression, and patterns have *, ?, [a-z] and {a,b}; write v1*',
  ],
  [rule("image: '^ghcr.io/org/.*'"), 'sync.rules[0].image', 'ghcr.io/org/**'],
  [rule("image: 'ghcr.io/^org/app'"), 'sync.rules[0].image', 'org/app*'],
  [rule("image: ghcr.io/org/a, tags: ['^v1']"), 'sync.rules[0].tags[0]', "regex: ['^v1']"],
  [rule("image: ghcr.io/org/a, tags: '1\\.27.*'"), 'sync.rules[0].tags', "regex: ['1\\.27.*']"],
  ["store: { pins: ['ghcr.io/org/.*:v1'] }", 'store.pins[0]', 'ghcr.io/org/*:v1'],
];

const HUB = 'https://registry-1.docker.io';
const URLS: readonly Slip[] = [
  ...[
    'https://hub.docker.com',
    'https://hub.docker.com/r/library/nginx',
    'https://cloud.docker.com',
    'https://app.docker.com/repositories',
    'https://index.docker.io/v1/',
    'https://index.docker.io',
    'https://docker.io',
    'http://docker.io/',
    'https://DOCKER.io:443',
    'https://registry.hub.docker.com/v2/',
    'https://registry-1.docker.io/v1/',
    'https://registry-1.docker.io/library',
    'hub.docker.com',
    'docker.io',
  ].map((url): Slip => [upstream(`url: '${url}'`), 'upstreams.docker.io.url', HUB]),
  [
    'upstreams: { docker.io: ~, ghcr.io: { url: https://github.com/org } }',
    'upstreams.ghcr.io.url',
    'https://ghcr.io',
  ],
  [
    'upstreams: { docker.io: ~, quay.io: { url: quay.io } }',
    'upstreams.quay.io.url',
    'https://quay.io',
  ],
  [upstream('url: parent.example:5000'), 'upstreams.docker.io.url', 'https://parent.example:5000'],
  [upstream('url: docker://parent.example'), 'upstreams.docker.io.url', 'https://parent.example'],
  [
    upstream('url: https://parent.example/v1/'),
    'upstreams.docker.io.url',
    'https://parent.example',
  ],
];

/** How people write the name of a registry that is another one. */
const NAMES: readonly (readonly [wrong: string, right: string])[] = [
  ['hub.docker.com', 'docker.io'],
  ['registry.hub.docker.com', 'docker.io'],
  ['cloud.docker.com', 'docker.io'],
  ['index.docker.io', 'docker.io'],
  ['https://index.docker.io/v1/', 'docker.io'],
  ['Docker.io', 'docker.io'],
  ['docker.io:443', 'docker.io'],
  ['https://ghcr.io', 'ghcr.io'],
  ['ghcr.io/', 'ghcr.io'],
  ['GHCR.io', 'ghcr.io'],
  ['ghcr.io:443', 'ghcr.io'],
  ['ghcr.io.', 'ghcr.io'],
  ['gallery.ecr.aws', 'public.ecr.aws'],
  ['REG.example:5000', 'reg.example:5000'],
  ['reg.example_5000', 'reg.example:5000'],
];
const BOTH = 'docker.io: ~, ghcr.io: ~, public.ecr.aws: ~, "reg.example:5000": ~';
const REGISTRIES: readonly Slip[] = NAMES.flatMap(([wrong, right]): Slip[] => [
  [
    `upstreams: { quay.io: ~, '${wrong}': ~ }\ndefaultUpstream: quay.io`,
    `upstreams.${wrong}`,
    right,
  ],
  [`upstreams: { ${BOTH} }\ndefaultUpstream: '${wrong}'`, 'defaultUpstream', right],
  ...(wrong.includes('/') || wrong.includes('_')
    ? []
    : [
        [
          `upstreams: { ${BOTH} }\nsync: { rules: [{ image: '${wrong}/org/app' }] }`,
          'sync.rules[0].image',
          `${right}/org/app`,
        ] as const,
      ]),
]);

const HOSTS: readonly Slip[] = [
  [upstream('hosts: [Hub.example]'), 'upstreams.docker.io.hosts[0]', 'hub.example'],
  [upstream("hosts: ['hub.example:443']"), 'upstreams.docker.io.hosts[0]', 'hub.example'],
  [upstream("hosts: ['hub.example:80']"), 'upstreams.docker.io.hosts[0]', 'hub.example'],
  [upstream('hosts: [https://hub.example/]'), 'upstreams.docker.io.hosts[0]', 'hub.example'],
  [upstream('storage: [Minio.example]'), 'upstreams.docker.io.storage[0]', 'minio.example'],
  [upstream('storage: [https://x.example/a]'), 'upstreams.docker.io.storage[0]', 'x.example'],
  [upstream("realms: ['*.X.example:8443']"), 'upstreams.docker.io.realms[0]', '*.x.example'],
];

const CREDENTIALS = 'credentials: { username: NAME, password: { file: PATH } }';
const KEYS: readonly Slip[] = [
  // Another spelling, or a letter too many
  ['store: { maxbytes: 1GiB }', 'store.maxbytes', 'write maxBytes'],
  ['store: { max_bytes: 1GiB }', 'store.max_bytes', 'write maxBytes'],
  ['store: { max-bytes: 1GiB }', 'store.max-bytes', 'write maxBytes'],
  ['store: { maxByte: 1GiB }', 'store.maxByte', 'write maxBytes'],
  ['lisetn: :5000', 'lisetn', 'write listen'],
  ['upstream: { docker.io: ~ }', 'upstream', 'write upstreams'],
  [upstream('tags: { negative_ttl: 5s }'), 'upstreams.docker.io.tags.negative_ttl', 'negativeTtl'],
  ['sync: { rules: [{ image: docker.io/library/a, tag: b }] }', 'sync.rules[0].tag', 'write tags'],
  // In the wrong map
  ['maxBytes: 1GiB', 'maxBytes', 'write store: { maxBytes: … }'],
  ['STORE_MAX_BYTES: 1GiB', 'STORE_MAX_BYTES', 'write store: { maxBytes: … }'],
  ['store.maxBytes: 1GiB', 'store.maxBytes', 'write store: { maxBytes: … }'],
  ['insecure: true', 'insecure', 'write upstreams: { REGISTRY: { tls: { insecure: true } } }'],
  [upstream('insecure: true'), 'upstreams.docker.io.insecure', 'write tls: { insecure: true }'],
  [upstream('ttl: 5m'), 'upstreams.docker.io.ttl', 'write tags: { ttl: … }'],
  [
    upstream('tags: { hydrate: off }'),
    'upstreams.docker.io.tags.hydrate',
    'under upstreams.docker.io',
  ],
  [upstream('schedule: x'), 'upstreams.docker.io.schedule', 'sync: { schedule: … } at the top'],
  [
    upstream('token: hunter2'),
    'upstreams.docker.io.token',
    'write credentials: { token: { file: PATH } }',
  ],
  ['docker.io: ~', 'docker.io', 'write upstreams: { docker.io: ~ }'],
  // Of other programs
  ['port: 8080', 'port', 'write listen: 0.0.0.0:8080'],
  ['http: { addr: ":5000" }', 'http', 'write listen: 0.0.0.0:5000'],
  ['listen: { port: 5000 }', 'listen.port', 'write address: 0.0.0.0:5000'],
  ['cache: /data', 'cache', 'write store: { path: PATH, maxBytes: 100GiB }'],
  ['storage: { rootDirectory: /data }', 'storage', 'write store: { path: PATH'],
  ['store: { rootDirectory: /data }', 'store.rootDirectory', 'write path: PATH'],
  [
    'proxy: { remoteurl: https://registry-1.docker.io }',
    'proxy',
    'upstreams: { docker.io: { url: ',
  ],
  ['remotes: [https://ghcr.io]', 'remotes', 'upstreams: { docker.io: { url: '],
  ['mirrors: { docker.io: { endpoint: [] } }', 'mirrors', 'upstreams: { docker.io: { url: '],
  ['registry-mirrors: [https://a.example]', 'registry-mirrors', 'upstreams: { docker.io: { url: '],
  [
    upstream('remoteurl: https://a.example'),
    'upstreams.docker.io.remoteurl',
    'write url: https://HOST',
  ],
  [
    upstream('endpoint: [https://a.example]'),
    'upstreams.docker.io.endpoint',
    'write url: https://HOST',
  ],
  ['insecure-registries: [a.example]', 'insecure-registries', 'tls: { insecure: true }'],
  [
    upstream('insecureSkipVerify: true'),
    'upstreams.docker.io.insecureSkipVerify',
    'tls: { insecure: true }',
  ],
  [
    upstream('tls: { skip_verify: true }'),
    'upstreams.docker.io.tls.skip_verify',
    'write insecure: true',
  ],
  ['auth: { htpasswd: {} }', 'auth', CREDENTIALS],
  [upstream('auth: aHVudGVyMg=='), 'upstreams.docker.io.auth', CREDENTIALS],
  [upstream('username: me'), 'upstreams.docker.io.username', CREDENTIALS],
  [upstream('password: hunter2'), 'upstreams.docker.io.password', CREDENTIALS],
  ['authentication: {}', 'authentication', CREDENTIALS],
  ['store: { auth: {} }', 'store.auth', CREDENTIALS],
  ['sync: { auth: {} }', 'sync.auth', CREDENTIALS],
  [rule('image: docker.io/org/a, auth: hunter2'), 'sync.rules[0].auth', CREDENTIALS],
  [
    rule('image: docker.io/org/a, insecure: true'),
    'sync.rules[0].insecure',
    'tls: { insecure: true }',
  ],
  ['store: { insecure: true }', 'store.insecure', 'tls: { insecure: true }'],
  ['sync: { insecure: true }', 'sync.insecure', 'tls: { insecure: true }'],
  [
    upstream('insecure: true, url: "http://a.example"'),
    'upstreams.docker.io.insecure',
    'write tls: { insecure: true }',
  ],
  [upstream('store: /data'), 'upstreams.docker.io.store', 'write store: … at the top'],
  [upstream('logLevel: debug'), 'upstreams.docker.io.logLevel', 'write log: { level: … }'],
  ['sync: { logLevel: debug }', 'sync.logLevel', 'write log: { level: … }'],
  ['store: { logLevel: debug }', 'store.logLevel', 'write log: { level: … }'],
  [
    rule('image: docker.io/org/a, logLevel: debug'),
    'sync.rules[0].logLevel',
    'write log: { level: … }',
  ],
  ['sync: { maxBytes: 100G }', 'sync.maxBytes', 'write store: { maxBytes: … }'],
  [upstream('maxBytes: 100'), 'upstreams.docker.io.maxBytes', 'write store: { maxBytes: … }'],
  ['logLevel: debug', 'logLevel', 'write log: { level: info }'],
  ['log_level: debug', 'log_level', 'write log: { level: info }'],
  ['log: debug', 'log', 'write { level: debug }'],
  ['log: { level: warning }', 'log.level', 'write warn'],
  ['log: { level: INFO }', 'log.level', 'write info'],
  ['log: { level: loud }', 'log.level', 'write one of debug, info, warn, error'],
  ['log: { level: 3 }', 'log.level', 'write one of debug, info, warn, error'],
  ['log: { format: json }', 'log.format', 'leave it out'],
  ['log: { accessLog: false }', 'log.accessLog', 'write access: false'],
  ['log: { access: 0.1 }', 'log.access', 'write 10%'],
  ['log: { audit: true }', 'log.audit', 'write the path of a file'],
  ['log: { auditLog: /var/log/a }', 'log.auditLog', 'write audit: FILE'],
  ['log: { access: off }', 'log.access', 'write true, false, or a share'],
  ['log: { acess: true }', 'log.acess', 'write access'],
  ['logFormat: json', 'logFormat', 'leave it out'],
  [
    'bundles: { trust: { courier: courier.pub } }',
    'bundles.trust.courier',
    'write { file: courier.pub, may: [images] }',
  ],
  [
    'bundles: { trust: { "a b": { file: none.pub } } }',
    'bundles.trust.a b',
    'write a name of letters',
  ],
  [
    'bundles: { trust: { courier: { file: none.pub, may: [all] } } }',
    'bundles.trust.courier.may[0]',
    'images and trust',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: release }] }',
    'admission.rules[0].signedBy',
    'a list of maps; write [{ key: release }]',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [release] }] }',
    'admission.rules[0].signedBy[0]',
    'a map; write { key: release }',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: { key: release } }] }',
    'admission.rules[0].signedBy',
    'it is a list; write [{',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, attestedBy: release, minAge: 2d }] }',
    'admission.rules[0].attestedBy',
    'write [{ key: release }]',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ name: release }] }] }',
    'admission.rules[0].signedBy[0].name',
    'write key: NAME',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ subject: a, issuer: b }] }] }',
    'admission.rules[0].signedBy[0].subject',
    'write identity: WHO',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ key: { file: cosign.pub } }] }] }',
    'admission.rules[0].signedBy[0].key',
    'write a name among admission.trust.keys',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: release }] }] }',
    'admission.rules[0].signedBy[0].notation',
    'write { identities: [',
  ],
  [
    'admission: { trust: { keys: { release: file.pub } } }',
    'admission.trust.keys.release',
    'write { file: file.pub }',
  ],
  [
    'admission: { trust: { keys: file.pub } }',
    'admission.trust.keys',
    'each key has a name of your own; write { NAME: { file: file.pub } }',
  ],
  [
    'admission: { trust: { keys: [file.pub] } }',
    'admission.trust.keys',
    'write { NAME: { file: file.pub } }',
  ],
  [
    'admission: { trust: { keys: { "a b": { file: none.pub } } } }',
    'admission.trust.keys.a b',
    'write a name of letters',
  ],
  [
    'admission: { trust: { keys: { release: { path: file.pub } } } }',
    'admission.trust.keys.release.path',
    'write file: cosign.pub',
  ],
  [
    'admission: { trust: { keys: { release: "-----BEGIN PUBLIC KEY-----" } } }',
    'admission.trust.keys.release',
    'it is the key itself',
  ],
  [
    'admission: { trust: cosign.pub }',
    'admission.trust',
    'write { keys: { NAME: { file: FILE } } }',
  ],
  [
    'admission: { trust: { sigstore: root.json } }',
    'admission.trust.sigstore',
    'write { trustedRoot: root.json }',
  ],
  [
    'admission: { trust: { notation: trust } }',
    'admission.trust.notation',
    'write { stores: trust }',
  ],
  ['admission: { rules: { images: [a/**] } }', 'admission.rules', 'it is a list; write [{'],
  ['admission: enforce', 'admission', 'write { rules: ['],
  [
    'admission: { rules: [{ image: ghcr.io/org/**, mode: enforce, minAge: 2d }] }',
    'admission.rules[0].image',
    'write images: [',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: Enforce, minAge: 2d }] }',
    'admission.rules[0].mode',
    'write enforce',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, vulnerabilities: medium }] }',
    'admission.rules[0].vulnerabilities',
    'write { atMost: medium }',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, vulnerabilities: { atMost: MEDIUM } }] }',
    'admission.rules[0].vulnerabilities.atMost',
    'write medium',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, vulnerabilities: { max: low } }] }',
    'admission.rules[0].vulnerabilities.max',
    'write atMost: medium',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, vulnerabilities: { atMost: low }, exceptions: [CVE-2024-1] }] }',
    'admission.rules[0].exceptions[0]',
    'write { cve: CVE-2024-1, reason: WHY',
  ],
  [
    'admission: { scanner: http://scanner:8080 }',
    'admission.scanner',
    'write { adapter: http://scanner:8080 }',
  ],
  [
    'admission: { scanner: { url: http://scanner:8080 } }',
    'admission.scanner.url',
    'write adapter: http://HOST:8080',
  ],
  ['cosign: { key: cosign.pub }', 'cosign', 'write admission: { rules: ['],
  ['policy: { rules: [] }', 'policy', 'write admission: { rules: ['],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: warn, signedBy: [{ key: a }] }] }',
    'admission.rules[0].mode',
    'write off, audit or enforce',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: audit, signedBy: [{ notation: { identities: ["x509.subject: C=US, ST=WA, O=a"], level: permissive } }] }] }',
    'admission.rules[0].signedBy[0].notation.level',
    'write strict or audit',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m, maxAge: 1 day } }',
    'admission.scanner.maxAge',
    '1d',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: {} }] }',
    'admission.rules[0].vulnerabilities.atMost',
    'write one of unknown',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: severe } }] }',
    'admission.rules[0].vulnerabilities.atMost',
    'write one of unknown',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low, onError: pass } }] }',
    'admission.rules[0].vulnerabilities.onError',
    'write deny or allow',
  ],
  ['otel: { endpoint: x }', 'otel', 'write tracing: { otlp: http://HOST:4318/v1/traces }'],
  ['tracing: http://c:4318/v1/traces', 'tracing', 'write { otlp: http://c:4318/v1/traces }'],
  ['tracing: { endpoint: x }', 'tracing.endpoint', 'write otlp: http://HOST:4318/v1/traces'],
  ['tracing: { otlp: collector }', 'tracing.otlp', 'such as http://collector:4318/v1/traces'],
  ['tracing: { otlp: http://c:4318 }', 'tracing.otlp', 'write http://c:4318/v1/traces'],
  ['tracing: { otlp: http://c:4317 }', 'tracing.otlp', 'write http://c:4318/v1/traces'],
  [
    'tracing: { otlp: http://u:hunter2@c:4318/v1/traces }',
    'tracing.otlp',
    'OTEL_EXPORTER_OTLP_HEADERS',
  ],
  [
    'tracing: { otlp: http://c/v1/traces?key=hunter2 }',
    'tracing.otlp',
    'OTEL_EXPORTER_OTLP_HEADERS',
  ],
  ['trustProxy: true', 'trustProxy', 'such as [10.0.0.0/8]'],
  ['trustProxy: 10.0.0.0/8', 'trustProxy', 'write a list: [10.0.0.0/8]'],
  ['trustProxy: [proxy.example]', 'trustProxy[0]', 'such as [10.0.0.0/8]'],
  ["trustProxy: ['10.0.0.1:80']", 'trustProxy[0]', 'such as [10.0.0.0/8]'],
  ['trustProxy: [10.0.0.0/64]', 'trustProxy[0]', 'such as [10.0.0.0/8]'],
  ['trustedProxies: [10.0.0.1]', 'trustedProxies', 'write trustProxy: [10.0.0.0/8]'],
  ['version: 0.1', 'version', 'leave it out'],
  ['prometheus: { listen: ":9101" }', 'prometheus', 'write metrics: { listen: 0.0.0.0:9101 }'],
  ['pollInterval: 6h', 'pollInterval', "write sync: { schedule: '0 * * * *' }"],
  ['sync: { registries: [] }', 'sync.registries', 'write rules: [{ image: '],
];

const cluster = (keys: string) =>
  `access: { kubernetes: [{ name: prod, issuer: https://k8s.example, audience: entrepot, ${keys} }] }`;
const ISSUERS: readonly Slip[] = [
  [cluster('jwks: https://k8s.example/jwks'), 'access.kubernetes[0].jwks', '{ url: URL'],
  [cluster('jwks: {}'), 'access.kubernetes[0].jwks', 'write { file: PATH } or { url: URL'],
  [
    cluster('jwks: { file: a, url: https://k8s.example/jwks }'),
    'access.kubernetes[0].jwks',
    'write { file: PATH } or { url: URL',
  ],
  [
    cluster('jwks: { url: https://k8s.example/jwks }, groups: teams'),
    'access.kubernetes[0].groups',
    'unknown key',
  ],
];
const FILES_OF_ISSUERS: readonly Slip[] = [
  [cluster('jwks: { file: none.jwks }'), 'access.kubernetes[0].jwks.file', 'cannot read'],
  [
    cluster('jwks: { url: http://k8s.example/jwks }'),
    'access.kubernetes[0].jwks.url',
    'write an https URL',
  ],
  [
    cluster('jwks: { url: https://u:hunter2@k8s.example/jwks }'),
    'access.kubernetes[0].jwks.url',
    'write an https URL',
  ],
  [
    cluster('jwks: { url: https://k8s.example/jwks, token: hunter2 }'),
    'access.kubernetes[0].jwks.token',
    'a secret does not stand in this file',
  ],
  [
    `access: { oidc: [{ name: 'a:b', issuer: i, audience: a, jwks: { url: https://k8s.example/ } }] }`,
    'access.oidc[0].name',
    'write a name of letters',
  ],
];

const ruleWith = (keys: string) => `access: { rules: [{ ${keys} }] }`;
const given = (who: string, may = '[pull]', rest = '') =>
  ruleWith(`who: ${who}, may: ${may}, images: [ghcr.io/org/app]${rest}`);
const RULES: readonly Slip[] = [
  [
    ruleWith('who: [anonymous], may: [pull], image: ghcr.io/org/app'),
    'access.rules[0].image',
    "write images: ['",
  ],
  [
    ruleWith('user: alice, may: [pull], images: [ghcr.io/org/app]'),
    'access.rules[0].user',
    'write who: [',
  ],
  [
    given('[anonymous]', '[pull]', ', deny: [ghcr.io/a/b]'),
    'access.rules[0].deny',
    'leave it out: rules only give',
  ],
  [given('[alice]'), 'access.rules[0].who[0]', 'write user:alice, not "alice"'],
  [given('[Anonymous]'), 'access.rules[0].who[0]', 'write anonymous, not "Anonymous"'],
  [given("['tokn:x']"), 'access.rules[0].who[0]', 'write token:x, not "tokn:x"'],
  [given("['ldap:x']"), 'access.rules[0].who[0]', 'oidc:ISSUER:NAME, not "ldap:x"'],
  [given("['u:hunter2@b']"), 'access.rules[0].who[0]', 'write anonymous, user:NAME'],
  [given('[anonymous]', '[pul]'), 'access.rules[0].may[0]', 'write pull, not "pul"'],
  [given('[anonymous]', '[pull, push]'), 'access.rules[0].may[1]', 'a mirror takes no images'],
  [given('[anonymous]', '[pull, own]'), 'access.rules[0].may[1]', 'or admin, not "own"'],
  ['access: { htpasswd: htpasswd }', 'access.htpasswd', 'write { file: htpasswd }'],
];

const pin = (image: string) => `store: { pins: ['${image}'] }`;
const IMAGES: readonly Slip[] = [
  [pin('nginx:1'), 'store.pins[0]', 'docker.io/library/nginx:1'],
  [pin('nginx'), 'store.pins[0]', 'docker.io/library/nginx'],
  [pin('org/app:v1'), 'store.pins[0]', 'docker.io/org/app:v1'],
  [pin('nginx:1.*'), 'store.pins[0]', 'docker.io/library/nginx:1.*'],
  [pin('GHCR.io/org/app:v1'), 'store.pins[0]', 'ghcr.io/org/app:v1'],
  [pin('ghcr.io:443/org/*:V1'), 'store.pins[0]', 'ghcr.io/org/*:V1'],
  [pin('ghcr.io/Org/app'), 'store.pins[0]', 'ghcr.io/org/app'],
  [pin('index.docker.io/library/nginx'), 'store.pins[0]', 'docker.io/library/nginx'],
  [pin('docker://docker.io/library/nginx'), 'store.pins[0]', 'docker.io/library/nginx'],
  [pin('https://hub.docker.com/org/app'), 'store.pins[0]', 'docker.io/org/app'],
  [pin('hub.docker.com/r/org/app:1'), 'store.pins[0]', 'docker.io/org/app:1'],
  [pin('https://hub.docker.com/_/nginx'), 'store.pins[0]', 'docker.io/library/nginx'],
  [pin('other.example/org/app:1'), 'store.pins[0]', 'other.example is not under upstreams'],
  [
    `${pin('ghcr.io/org/app')}\n${upstream('hosts: []')}`,
    'store.pins[0]',
    'ghcr.io is not under upstreams; add it there, or write one of docker.io',
  ],
  [rule('image: hub.docker.com/r/org/app'), 'sync.rules[0].image', 'docker.io/org/app'],
  [rule('image: https://hub.docker.com/_/nginx'), 'sync.rules[0].image', 'docker.io/library/nginx'],
  [rule('image: ghcr.io/Org/App'), 'sync.rules[0].image', 'write ghcr.io/org/app'],
  ['sync: { rules: [{ image: nginx:1 }] }', 'sync.rules[0].image', 'docker.io/library/nginx'],
  [allow('docker.io/library/*'), 'upstreams.docker.io.allow[1]', 'library/*'],
  [allow('Index.docker.io:443/library/*'), 'upstreams.docker.io.allow[1]', 'library/*'],
  [allow('Library/*'), 'upstreams.docker.io.allow[1]', 'library/*'],
  [allow('library/'), 'upstreams.docker.io.allow[1]', 'library/**'],
  [allow('nginx'), 'upstreams.docker.io.allow[1]', 'library/nginx'],
  [allow('*'), 'upstreams.docker.io.allow[1]', '**'],
  [allow('library/nginx:1.27'), 'upstreams.docker.io.allow[1]', 'write library/nginx'],
  [upstream("deny: ['docker.io/org/**']"), 'upstreams.docker.io.deny[0]', 'write org/**'],
  [upstream("deny: ['org/app:*']"), 'upstreams.docker.io.deny[0]', 'write org/app'],
  [
    upstream("tags: { immutable: ['docker.io/library/nginx:1.*'] }"),
    'upstreams.docker.io.tags.immutable[0]',
    'write library/nginx:1.*',
  ],
  [
    upstream("tags: { immutable: ['nginx:1.*'] }"),
    'upstreams.docker.io.tags.immutable[0]',
    'write library/nginx:1.*',
  ],
];

const password = (secret: string) => upstream(`credentials: { username: me, password: ${secret} }`);
const PASSWORD = 'upstreams.docker.io.credentials.password';
const VARIABLES: readonly Slip[] = [
  [password('"${HUB}"'), PASSWORD, 'write { env: HUB }'],
  [password('"${HUB:-hunter2}"'), PASSWORD, 'write { env: HUB }'],
  [password('{ env: "${HUB}" }'), PASSWORD, 'write { env: HUB }'],
  [password('hunter2'), PASSWORD, 'write { file: PATH } or { env: VARIABLE }'],
  [password('$hunter2'), PASSWORD, 'write { file: PATH } or { env: VARIABLE }'],
  ['store: { path: "${DATA}/store" }', 'store.path', '${DATA}'],
  ['store: { path: $DATA }', 'store.path', '${DATA}'],
  ['listen: "${LISTEN}"', 'listen', '${LISTEN}'],
  ['defaultUpstream: "${HUB}"', 'defaultUpstream', '${HUB}'],
  [upstream('proxy: "${PROXY}"'), 'upstreams.docker.io.proxy', '${PROXY}'],
  [rule('image: "${HUB}/org/app"'), 'sync.rules[0].image', '${HUB}'],
  [rule('image: docker.io/org/app, tags: ["${TAG}"]'), 'sync.rules[0].tags[0]', '${TAG}'],
  ['sync: { schedule: $CRON }', 'sync.schedule', '${CRON}'],
  [upstream('url: "https://${HOST}"'), 'upstreams.docker.io.url', '${HOST}'],
];

/** A text where a map or a list is meant. */
const SHAPES: readonly Slip[] = [
  [
    'sync: { rules: [docker.io/library/nginx] }',
    'sync.rules[0]',
    'write { image: docker.io/library/nginx }',
  ],
  ['store: /srv/entrepot', 'store', 'write { path: /srv/entrepot }'],
  [
    'upstreams: { docker.io: https://parent.example/v2/docker.io }',
    'upstreams.docker.io',
    'write { url: https://parent.example/v2/docker.io }',
  ],
  [
    'upstreams: { docker.io: "https://me:hunter2@a.example" }',
    'upstreams.docker.io',
    'write { url: … }',
  ],
  [upstream('tags: 5m'), 'upstreams.docker.io.tags', 'write { ttl: 5m }'],
  [upstream('tls: ca.pem'), 'upstreams.docker.io.tls', 'write { ca: ca.pem }'],
  [upstream('allow: library/*'), 'upstreams.docker.io.allow', "write a list: ['library/*']"],
  [upstream('hosts: hub.example'), 'upstreams.docker.io.hosts', 'write a list: [hub.example]'],
  ['store: { pins: ghcr.io/org/app }', 'store.pins', 'write a list: [ghcr.io/org/app]'],
  ['upstreams: [docker.io, GHCR.io]', 'upstreams', '{ docker.io: ~, ghcr.io: ~ }'],
];

/** Those that the schema for editors refuses too: it sees one value at a time. */
export const SEEN_BY_EDITORS: readonly Slip[] = [
  ...SIZES,
  ...REGISTRIES,
  ...HOSTS,
  ...KEYS,
  ...ISSUERS,
  ...RULES,
  ...SHAPES,
];

export const SLIPS: readonly Slip[] = [
  ...SEEN_BY_EDITORS,
  [
    given('[anonymous]', '[pull]', ', from: [10.0.0.0/33]'),
    'access.rules[0].from[0]',
    'such as 10.0.0.0/8, not "10.0.0.0/33"',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: audit }] }',
    'admission.rules[0]',
    'asks something of its images',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: audit, minAge: 10s }] }',
    'admission.rules[0].minAge',
    'write a duration from 1m to 365d, such as 48h',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ key: release }] }] }',
    'admission.rules[0].signedBy[0]',
    '"release" is no name of a key; write it under admission.trust.keys',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ identity: a, issuer: b }] }] }',
    'admission.rules[0].signedBy[0]',
    'write admission.trust.sigstore: { trustedRoot: FILE }',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ key: a, identity: b, issuer: c }] }] }',
    'admission.rules[0].signedBy[0]',
    'write an entry of the list for each',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ issuer: b }] }] }',
    'admission.rules[0].signedBy[0]',
    'write identity: WHO beside it',
  ],
  [
    'admission: { trust: { keys: { release: { file: "-----BEGIN PUBLIC KEY-----" } } } }',
    'admission.trust.keys.release.file',
    'it is the key itself',
  ],
  [
    'admission: { trust: { keys: { release: { file: "awskms:///alias/a" } } } }',
    'admission.trust.keys.release.file',
    'cosign public-key',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ identity: a }] }] }',
    'admission.rules[0].signedBy[0]',
    'anybody may have an identity; write issuer: https://PROVIDER beside it',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'] } }] }] }`,
    'admission.rules[0].signedBy[0]',
    'write admission.trust.notation: { stores: FOLDER }',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['*'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    '"*" names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['C=US, ST=WA, O=a'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, O=a'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O='] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a, O=b'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a+CN=b'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a,'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=#616'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a, X=b'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject:'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[0]',
    'names nobody',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a', 'x509.subject: O=a, S=WA, C=US, CN=b'] } }] }] }`,
    'admission.rules[0].signedBy[0].notation.identities[1]',
    'names some whom another identity of the list names as well',
  ],
  [
    'admission: { trust: { notation: { stores: nowhere } } }',
    'admission.trust.notation.stores',
    'write the folder that Notation calls trust-store',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low, vex: [none.json] } }] }',
    'admission.rules[0].vulnerabilities.vex[0]',
    'no such file',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low }, exceptions: [{ cve: CVE-1, reason: a, owner: b, until: 2027-02-30 }] }] }',
    'admission.rules[0].exceptions[0].until',
    'write a day such as',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low }, exceptions: [{ reason: a, owner: b, until: 2027-02-01 }] }] }',
    'admission.rules[0].exceptions[0]',
    'write { cve: CVE-2024-1234',
  ],
  [
    'admission: { rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low } }] }',
    'admission.rules[0].vulnerabilities',
    'nobody would say what is vulnerable',
  ],
  [
    `admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low }, attestedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'] } }] }] }`,
    'admission.rules[0].attestedBy[0]',
    'Notation signs images, and no attestations that are read here',
  ],
  [
    `admission: { rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low }, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'] } }] }] }`,
    'admission.rules[0].vulnerabilities',
    'nobody would say what is vulnerable',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m }, rules: [{ images: [ghcr.io/org/**], mode: audit, vulnerabilities: { atMost: low }, attestedBy: [{ key: none }] }] }',
    'admission.rules[0].attestedBy[0]',
    '"none" is no name of a key',
  ],
  [
    'admission: { scanner: { adapter: scanner:8080, registry: http://m } }',
    'admission.scanner.adapter',
    'such as http://scanner:8080',
  ],
  [
    'admission: { scanner: { adapter: http://s/trivy/api/v1/, registry: http://m } }',
    'admission.scanner.adapter',
    'leave out /api/v1',
  ],
  [
    'admission: { scanner: { adapter: http://s/trivy, registry: http://m/registry } }',
    'admission.scanner.registry',
    'without a path',
  ],
  [
    'admission: { scanner: { adapter: http://s, registry: http://m, maxAge: 1s } }',
    'admission.scanner.maxAge',
    'write at least 1m',
  ],
  [
    'admission: { trust: { keys: { release: { file: none.pub } } } }',
    'admission.trust.keys.release.file',
    'no such file',
  ],
  [
    'bundles: { trust: { courier: { file: none.pub } } }',
    'bundles.trust.courier.file',
    'cannot read',
  ],
  ...FILES_OF_ISSUERS,
  ...PATTERNS,
  ...URLS,
  ...IMAGES,
  ...VARIABLES,
];

/** A file that is right, with what only looks like a slip. */
export const NO_SLIPS = `
store:
  maxBytes: 107374182400
  minFreeBytes: 0
  pins: [docker.io/nginx:1, 'docker.io/nginx:1.*', '*/org/app@sha256:*', '**:stable', 'reg.example:5000/a:B']
upstreams:
  docker.io: { allow: ['{library/a,org/b}', '**/app', 'team**', 'org/[^a]*'], url: https://registry-1.docker.io/ }
  quay.io: { allow: [org, '*', docker.io/library/*], url: https://quay.io/v2/org, tags: { immutable: ['*:1.*'] } }
  reg.example:80: { url: http://reg.example, hosts: [hub.example, 'hub.example:5000'] }
  reg.example:5000: { url: http://quay/base, storage: ['*.example', fd00::/8] }
`;
