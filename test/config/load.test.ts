import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Config, UpstreamConfig } from '../../src/config/config.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { proxyOf } from '../../src/config/proxy.ts';
import { loadConfig } from '../../src/config/load.ts';
import { jwksOf, SigningKey } from '../access/fake-issuer.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { createFolder, load } from './config-folder.ts';

function withDefaults(name: string, url: string): UpstreamConfig {
  return {
    name,
    url,
    credentials: [],
    tls: { insecure: false, only: false, system: true },
    hosts: [],
    storage: [],
    realms: [],
    allow: ['**'],
    deny: [],
    concurrency: 8,
    segments: 'auto',
    ranges: 'auto',
    hydrate: 'blob',
    tags: {
      ttlMs: 300_000,
      revalidateTimeoutMs: 2000,
      staleIfErrorMs: Number.POSITIVE_INFINITY,
      staleWhileRevalidateMs: 0,
      negativeTtlMs: 30_000,
      immutable: [],
    },
  };
}

function passwordOf({ upstreams }: Config): string | undefined {
  const [account] = upstreams['docker.io']?.credentials ?? [];
  return account?.provider === 'password' ? account.password : undefined;
}

test('without a file the well-known registries are served from ./data on the usual ports', (t) => {
  const cwd = createFolder(t, {});
  const { config, warnings, file } = loadConfig({ cwd, env: {} });
  t.is(file, undefined);
  t.deepEqual(warnings, []);
  const { upstreams, ...rest } = config;
  t.deepEqual(rest, {
    listen: { host: '0.0.0.0', port: 5000 },
    admin: { host: '127.0.0.1', port: 5001 },
    trustProxy: [],
    log: { level: 'info', access: 1 },
    tracing: {},
    bundles: { trust: {} },
    graceMs: 8_000,
    offline: false,
    store: {
      path: join(cwd, 'data'),
      maxBytes: 107_374_182_400,
      maxBlobShare: 0.5,
      minFreeBytes: 2_147_483_648,
      durability: 'full',
      pins: [],
    },
    defaultUpstream: 'docker.io',
  });
  t.deepEqual(Object.keys(upstreams), [
    'docker.io',
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
  ]);
  t.deepEqual(upstreams['docker.io'], withDefaults('docker.io', 'https://registry-1.docker.io'));
  t.deepEqual(upstreams['ghcr.io'], withDefaults('ghcr.io', 'https://ghcr.io'));
});

test('an empty file says the same as no file', (t) => {
  const { config } = load(t, { yaml: '# nothing yet\n' });
  const defaults = loadConfig({ cwd: join(config.store.path, '..'), env: {} });
  t.deepEqual(config, defaults.config);
});

test('a section without a value takes its defaults', (t) => {
  const yaml = 'store:\nsync:\nupstreams:\n  docker.io:\n    tls:\n    tags:\n    credentials:\n';
  const { config } = load(t, { yaml });
  t.is(config.store.maxBytes, 107_374_182_400);
  t.deepEqual(
    config.upstreams['docker.io'],
    withDefaults('docker.io', 'https://registry-1.docker.io'),
  );
});

test('with upstreams in the file those are all there are', (t) => {
  const yaml = 'defaultUpstream: ghcr.io\nupstreams: { ghcr.io: ~, "reg.example:5000": {} }';
  const { config } = load(t, { yaml });
  t.deepEqual(Object.values(config.upstreams), [
    withDefaults('ghcr.io', 'https://ghcr.io'),
    withDefaults('reg.example:5000', 'https://reg.example:5000'),
  ]);
});

test('a name that every object has is no upstream', (t) => {
  const { config } = load(t, { yaml: '' });
  for (const name of ['constructor', 'toString', '__proto__']) {
    t.is(config.upstreams[name], undefined);
  }
});

test('every key of the file ends up in the configuration', async (t) => {
  const yaml = `
listen: { address: "[::]:5443", tls: { cert: server.crt, key: server.key } }
admin: { address: :0, open: true }
trustProxy: [10.0.0.0/8, "::1"]
log: { level: warn, access: 12.5%, audit: audit.log }
tracing: { otlp: http://collector:4318/v1/traces }
grace: 1m
offline: true
bundles: { trust: { courier: { file: courier.pub, may: [images, trust] }, lab: { file: courier.pub } } }
admission:
  trust: { sigstore: { trustedRoot: trusted_root.json }, keys: { release: { file: courier.pub } }, notation: { stores: trust } }
  scanner: { adapter: https://scanner:8443/harbor, registry: http://mirror:5000, ca: ca.pem, token: { env: TOKEN }, maxAge: 2h }
  rules:
    - images: ['ghcr.io/org/**']
      mode: audit
      signedBy: [{ key: release }, { notation: { identities: ['x509.subject: C=US, ST=WA, O=Example'] } }, { identity: 'https://id.example/*', issuer: https://id.example }]
      minAge: 48h
      attestedBy: [{ key: release }]
      vulnerabilities: { atMost: low, fixableOnly: true, vex: [vex.json], unscannable: allow, onError: allow }
      exceptions: [{ cve: CVE-2024-1234, reason: not reached, owner: team-a, until: 2027-01-01 }]
access:
  token: { service: entrepot-a, ttl: 1m }
  certificates: { ca: ca.pem }
  limits: { downloads: 8 }
  oidc: [{ name: corp, issuer: https://id.example, audience: entrepot, jwks: { url: https://id.example/jwks, ca: ca.pem, token: { env: TOKEN } }, subject: email, groups: teams }]
  kubernetes: [{ name: prod, issuer: https://k8s.example, audience: entrepot, jwks: { file: prod.jwks } }]
  rules: [{ who: ['k8s:prod:team-a:*', 'group:devs'], may: [pull], images: ['**'] }]
store:
  path: cache
  maxBytes: 1GB
  maxBlobShare: 12.5%
  minFreeBytes: 0
  durability: rename
  pins: [reg.example/library/nginx:1.27, 'reg.example/org/*:stable']
  inUse: lists/in-use
defaultUpstream: reg.example
upstreams:
  reg.example:
    url: http://10.0.0.5:5000/artifactory/api/docker/
    credentials: { username: alice, password: { env: TOKEN } }
    proxy: http://proxy.example:3128/
    hosts: [hub.mirror.example, "mirror:5000"]
    storage: [minio.corp.example, 10.20.30.0/24, "fd12::/48"]
    realms: ["*.corp.example"]
    allow: ["library/*", "myorg/**"]
    deny: ["myorg/secret"]
    concurrency: 2
    segments: 4
    ranges: sparse
    hydrate: false
    bandwidth: 50MiB/s
    tags:
      ttl: forever
      revalidateTimeout: 500ms
      staleIfError: 7d
      staleWhileRevalidate: 1h30m
      negativeTtl: 0s
      immutable: ["*:v[0-9]*"]
`;
  const pem = generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' });
  const { ca, server } = await createCertificates();
  const files = {
    'ca.pem': String(ca),
    'courier.pub': pem,
    'trust/x509/ca/lab/ca.pem': String(ca),
    'trusted_root.json':
      '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}',
    'server.crt': String(server.cert),
    'server.key': String(server.key),
    'prod.jwks': jwksOf(new SigningKey()),
    'vex.json': '{}',
  };
  const withCa = yaml.replace('    proxy:', '    tls: { ca: ca.pem, insecure: true }\n    proxy:');
  const { config, file = '' } = load(t, { yaml: withCa, files, env: { TOKEN: 'hunter2' } });
  const { upstreams, ...rest } = config;
  t.deepEqual(rest, {
    listen: {
      host: '::',
      port: 5443,
      tls: { cert: join(file, '../server.crt'), key: join(file, '../server.key') },
    },
    admin: { host: '0.0.0.0', port: 0, open: true },
    trustProxy: ['10.0.0.0/8', '::1'],
    log: { level: 'warn', access: 0.125, audit: join(file, '../audit.log') },
    tracing: { otlp: 'http://collector:4318/v1/traces' },
    bundles: {
      trust: {
        courier: { file: { path: join(file, '../courier.pub'), pem }, may: ['images', 'trust'] },
        lab: { file: { path: join(file, '../courier.pub'), pem }, may: ['images'] },
      },
    },
    admission: {
      trust: {
        sigstore: { trustedRoot: join(file, '../trusted_root.json') },
        keys: { release: { file: join(file, '../courier.pub') } },
        notation: { stores: join(file, '../trust') },
      },
      scanner: {
        adapter: 'https://scanner:8443/harbor',
        registry: 'http://mirror:5000',
        ca: { path: join(file, '../ca.pem'), contents: files['ca.pem'] },
        token: { text: 'hunter2', file: undefined },
        maxAge: 7_200_000,
      },
      rules: [
        {
          images: ['ghcr.io/org/**'],
          mode: 'audit',
          signedBy: [
            { key: 'release' },
            {
              notation: {
                identities: ['x509.subject: C=US, ST=WA, O=Example'],
                level: 'strict',
              },
            },
            { identity: 'https://id.example/*', issuer: 'https://id.example' },
          ],
          minAge: 172_800_000,
          attestedBy: [{ key: 'release' }],
          vulnerabilities: {
            atMost: 'low',
            fixableOnly: true,
            vex: [join(file, '../vex.json')],
            unscannable: 'allow',
            onError: 'allow',
            onMissing: 'deny',
          },
          exceptions: [
            { cve: 'CVE-2024-1234', reason: 'not reached', owner: 'team-a', until: '2027-01-01' },
          ],
        },
      ],
    },
    access: {
      token: { service: 'entrepot-a', ttl: 60_000 },
      certificates: { ca: join(file, '../ca.pem') },
      limits: { downloads: 8 },
      oidc: [
        {
          name: 'corp',
          issuer: 'https://id.example',
          audience: 'entrepot',
          jwks: {
            url: 'https://id.example/jwks',
            ca: { path: join(file, '../ca.pem'), contents: files['ca.pem'] },
            token: { text: 'hunter2', file: undefined },
          },
          subject: 'email',
          groups: 'teams',
        },
      ],
      kubernetes: [
        {
          name: 'prod',
          issuer: 'https://k8s.example',
          audience: 'entrepot',
          jwks: { file: join(file, '../prod.jwks') },
        },
      ],
      rules: [{ who: ['k8s:prod:team-a:*', 'group:devs'], may: ['pull'], images: ['**'] }],
    },
    graceMs: 60_000,
    offline: true,
    store: {
      path: join(file, '../cache'),
      maxBytes: 1_000_000_000,
      maxBlobShare: 0.125,
      minFreeBytes: 0,
      durability: 'rename',
      pins: ['reg.example/library/nginx:1.27', 'reg.example/org/*:stable'],
      inUse: join(file, '../lists/in-use'),
    },
    defaultUpstream: 'reg.example',
  });
  t.deepEqual(Object.values(upstreams), [
    {
      name: 'reg.example',
      url: 'http://10.0.0.5:5000/artifactory/api/docker',
      credentials: [{ provider: 'password', username: 'alice', password: 'hunter2' }],
      tls: {
        ca: files['ca.pem'],
        files: { ca: join(file, '../ca.pem') },
        insecure: true,
        only: false,
        system: true,
      },
      proxy: 'http://proxy.example:3128',
      hosts: ['hub.mirror.example', 'mirror:5000'],
      storage: ['minio.corp.example', '10.20.30.0/24', 'fd12::/48'],
      realms: ['*.corp.example'],
      allow: ['library/*', 'myorg/**'],
      deny: ['myorg/secret'],
      concurrency: 2,
      segments: 4,
      ranges: 'sparse',
      hydrate: 'off',
      bytesPerSecond: 52_428_800,
      tags: {
        ttlMs: Number.POSITIVE_INFINITY,
        revalidateTimeoutMs: 500,
        staleIfErrorMs: 604_800_000,
        staleWhileRevalidateMs: 5_400_000,
        negativeTtlMs: 0,
        immutable: ['*:v[0-9]*'],
      },
    },
  ]);
});

for (const [what, contents] of Object.entries({
  'no line end': 'hunter 2',
  'a line end': 'hunter 2\n',
  "Windows' line end": 'hunter 2\r\n',
})) {
  test(`the password is all of a secret file with ${what}`, (t) => {
    const yaml =
      'upstreams: { docker.io: { credentials: { username: u, password: { file: secret } } } }';
    const { config } = load(t, { yaml, files: { secret: contents } });
    t.is(passwordOf(config), 'hunter 2');
  });
}

test('one line end is cut from a secret file, not more', (t) => {
  const yaml = 'upstreams: { docker.io: { credentials: { username: u, password: { file: s } } } }';
  const { config } = load(t, { yaml, files: { s: ' x \n\n' } });
  t.is(passwordOf(config), ' x \n');
});

test('merge keys let upstreams share their settings', (t) => {
  const yaml = `
upstreams:
  docker.io: { tags: &tags { ttl: 1h } }
  ghcr.io: { tags: { <<: *tags, negativeTtl: 1s } }
`;
  const { tags } = load(t, { yaml }).config.upstreams['ghcr.io'] ?? {};
  t.is(tags?.ttlMs, 3_600_000);
  t.is(tags?.negativeTtlMs, 1000);
});

test('the configuration cannot be changed, at any depth', (t) => {
  const { config } = load(t, { yaml: '' });
  const isFrozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(isFrozen));
  t.true(isFrozen(config));
});

test('--config goes before $ENTREPOT_CONFIG, and that before ./entrepot.yaml', (t) => {
  const cwd = createFolder(t, {
    'named.yaml': 'listen: :1',
    'variable.yaml': 'listen: :2',
    'entrepot.yaml': 'listen: :3',
  });
  const env = { ENTREPOT_CONFIG: 'variable.yaml' };
  const portOf = (options: { file?: string; env: Record<string, string> }) =>
    loadConfig({ cwd, ...options }).config.listen.port;
  t.is(portOf({ file: 'named.yaml', env }), 1);
  t.is(portOf({ env }), 2);
  t.is(portOf({ env: {} }), 3);
  t.is(portOf({ env: { ENTREPOT_CONFIG: '' } }), 3);
});

test('a file that is named and missing is an error, whoever names it', (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': '' });
  const missing = {
    instanceOf: ConfigError,
    message: `cannot read ${cwd}/gone: there is no such file`,
  };
  t.throws(() => loadConfig({ cwd, env: {}, file: 'gone' }), missing);
  t.throws(() => loadConfig({ cwd, env: { ENTREPOT_CONFIG: 'gone' } }), missing);
});

test('a file that is no text is refused', (t) => {
  const cwd = createFolder(t, {});
  writeFileSync(join(cwd, 'entrepot.yaml'), Buffer.from([0x61, 0xff, 0xfe]));
  const error = t.throws(() => loadConfig({ cwd, env: {} }), { instanceOf: ConfigError });
  t.deepEqual(error.problems, [`${cwd}/entrepot.yaml is not UTF-8 text`]);
});

test('relative paths start from the folder of the file, not from the working directory', (t) => {
  const cwd = createFolder(t, {});
  mkdirSync(join(cwd, 'etc'));
  writeFileSync(join(cwd, 'etc/secret'), 'hunter2\n');
  writeFileSync(
    join(cwd, 'etc/site.yaml'),
    'upstreams: { docker.io: { credentials: { username: u, password: { file: ./secret } } } }',
  );
  const { config, file } = loadConfig({ cwd, env: {}, file: 'etc/site.yaml' });
  t.is(file, join(cwd, 'etc/site.yaml'));
  t.is(config.store.path, join(cwd, 'etc/data'));
  t.is(passwordOf(config), 'hunter2');
});

test('the proxy of the environment counts where the file names none', (t) => {
  const yaml =
    'upstreams: { docker.io: { proxy: "http://own.example:1" }, ghcr.io: ~, quay.io: ~, a.example: { url: "http://a.example" } }';
  const env = { HTTPS_PROXY: 'http://u:p@proxy.example:3128', NO_PROXY: 'quay.io' };
  const { upstreams } = load(t, { yaml, env }).config;
  t.deepEqual(
    Object.values(upstreams).map((upstream) => proxyOf(upstream, new URL(upstream.url))),
    ['http://own.example:1', 'http://u:p@proxy.example:3128', undefined, undefined],
  );
});

test('a proxy variable that is no URL stops the start', (t) => {
  const cwd = createFolder(t, {});
  const error = t.throws(() => loadConfig({ cwd, env: { HTTPS_PROXY: 'socks5://u:hunter2@x' } }), {
    instanceOf: ConfigError,
  });
  t.deepEqual(error.problems, [
    'the environment variable HTTPS_PROXY is not the URL of an http proxy',
  ]);
});

for (const [written, mode] of [
  ['true', 'blob'],
  ['false', 'off'],
  ['blob', 'blob'],
  ['head', 'head'],
  ['off', 'off'],
] as const) {
  test(`hydrate: ${written} means ${mode}`, (t) => {
    const yaml = `upstreams: { docker.io: { hydrate: ${written} } }`;
    t.is(load(t, { yaml }).config.upstreams['docker.io']?.hydrate, mode);
  });
}

test('what is legal and dangerous is a warning', async (t) => {
  const yaml = `
upstreams:
  docker.io: { hydrate: true }
  ghcr.io: { hydrate: false, tls: { insecure: true } }
  a.example: { url: "http://a.example", credentials: { username: u, password: { env: P } } }
  b.example: { url: "http://b.example" }
  c.example: { url: "http://127.0.0.1:5000", credentials: { provider: gcp } }
  d.example: { url: "http://localhost:5000", credentials: { provider: gcp } }
  e.example: { url: "http://10.0.0.5:5000", credentials: [{ provider: gcp }, { provider: acr }] }
admission:
  trust: { notation: { stores: trust } }
  rules:
    - { images: ['docker.io/a/**'], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'], level: strict } }] }
    - { images: ['docker.io/b/**'], mode: audit, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'], level: audit } }] }
    - { images: ['docker.io/c/**'], mode: enforce, signedBy: [{ notation: { identities: ['x509.subject: C=US, ST=WA, O=a'], level: audit } }] }
`;
  const { ca } = await createCertificates();
  const files = { 'trust/x509/ca/lab/ca.pem': String(ca) };
  t.deepEqual(load(t, { yaml, files, env: { P: 'x' } }).warnings, [
    'upstreams.ghcr.io.tls.insecure: the certificate of this upstream is not checked',
    'upstreams.a.example.credentials: they go over the network unencrypted; use https',
    'upstreams.e.example.credentials: they go over the network unencrypted; use https',
    'admission.rules[2].signedBy[0].notation: at the level audit the signature of anybody counts; write strict to enforce it',
  ]);
});

test('certificates are read for upstreams, and named for the listeners that read them again', async (t) => {
  const { ca, server, client } = await createCertificates();
  const files = {
    'ca.pem': String(ca),
    'server.crt': String(server.cert),
    'server.key': String(server.key),
    'client.crt': String(client.cert),
    'client.key': String(client.key),
  };
  const yaml = `
listen: { address: ":5443", tls: { cert: server.crt, key: server.key } }
upstreams: { docker.io: { tls: { ca: ca.pem, cert: client.crt, key: client.key } } }
`;
  const { config, file = '' } = load(t, { yaml, files });
  t.deepEqual(config.listen, {
    host: '0.0.0.0',
    port: 5443,
    tls: { cert: join(file, '../server.crt'), key: join(file, '../server.key') },
  });
  t.deepEqual(config.upstreams['docker.io']?.tls, {
    ca: files['ca.pem'],
    cert: files['client.crt'],
    key: files['client.key'],
    files: {
      ca: join(file, '../ca.pem'),
      cert: join(file, '../client.crt'),
      key: join(file, '../client.key'),
    },
    insecure: false,
    only: false,
    system: true,
  });
  const mixed = yaml.replace('key: server.key', 'key: client.key');
  const error = t.throws(() => load(t, { yaml: mixed, files }), { instanceOf: ConfigError });
  t.deepEqual(error.problems, ['listen.tls: the key does not belong to the certificate']);
});
