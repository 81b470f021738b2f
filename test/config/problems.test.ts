import test, { type ExecutionContext } from 'ava';
import { load, problemsOf, type LoadInput } from './config-folder.ts';

interface Case extends LoadInput {
  readonly says: readonly string[];
}

const tells = test.macro({
  exec: (t: ExecutionContext, _claim: string, input: Case) =>
    t.deepEqual(problemsOf(t, input), input.says),
  title: (_, claim) => claim,
});

/** One upstream, docker.io, with these keys. */
function upstream(keys: string): string {
  return `upstreams: { docker.io: { ${keys} } }`;
}

test(tells, 'an unknown key is refused at every depth, with the key that is meant', {
  yaml: 'lisen: 1\nstore: { maxbytes: 1 }\nupstreams: { docker.io: { tags: { tll: 1s } } }',
  says: [
    'store.maxbytes: unknown key; write maxBytes',
    'upstreams.docker.io.tags.tll: unknown key; write ttl',
    'lisen: unknown key; write listen',
  ],
});

test(tells, 'every problem is told at once, those between keys too', {
  yaml: [
    'offline: perhaps',
    'store: { maxBytes: lots }',
    'defaultUpstream: quay.io',
    'upstreams:',
    '  ghcr.io: { hosts: [a.example], tags: { ttl: 5 } }',
    '  index.docker.io: { hosts: [a.example], credentials: { username: u, password: { file: gone } } }',
  ].join('\n'),
  says: [
    'offline: write true or false',
    'store.maxBytes: write a size such as "100GiB" or "50MB", not "lots"',
    'upstreams.ghcr.io.tags.ttl: write a duration such as "5m" or "1h30m", or forever',
    'upstreams.index.docker.io.credentials.password: cannot read DIR/gone: there is no such file',
    'upstreams.index.docker.io: write docker.io, the name of this registry',
    'defaultUpstream: quay.io is not under upstreams; write one of ghcr.io, index.docker.io',
    'upstreams.index.docker.io.hosts[0]: a.example is a host of ghcr.io already',
  ],
});

test(tells, 'a file that is no map is refused', {
  yaml: '- listen',
  says: ['write keys with their values, such as "offline: false"'],
});

test(tells, 'listen and admin take an address, or an address and tls', {
  yaml: 'listen: 5000\nadmin: { adress: ":5001", tls: { cert: a.pem } }',
  files: { 'a.pem': 'nothing' },
  says: [
    'listen: write an address and a port such as "0.0.0.0:5000", or { address: …, tls: { cert: PATH, key: PATH } }',
    'admin.tls.cert: DIR/a.pem is not a PEM file',
    'admin.tls.key: write the path of a PEM file',
    'admin.adress: unknown key; write address',
  ],
});

test(tells, 'a wrong address is named', {
  yaml: 'listen: localhost\nadmin: { address: "::1:5001" }',
  says: [
    'listen: write an address and a port such as "0.0.0.0:5000" or "[::]:5000", not "localhost"',
    'admin.address: write an address and a port such as "0.0.0.0:5000" or "[::]:5000", not "::1:5001"',
  ],
});

for (const address of [
  '0.0.0.0:5001',
  '192.0.2.1:5001',
  '[::]:5001',
  '[2001:db8::1]:5001',
  '[fe80::1%eth0]:5001',
  'mirror.example:5001',
  'mirror.localhost:5001',
])
  test(tells, `an admin address on a network needs the word of the operator: ${address}`, {
    yaml: `admin: "${address}"`,
    says: [
      `admin: whoever reaches ${address} may read, pin and remove everything; write 127.0.0.1, or { address: "${address}", open: true } if that is meant (admin.open)`,
    ],
  });

for (const admin of [
  '{ address: 0.0.0.0:5001, open: true }',
  '127.1.2.3:1',
  '"[::1]:1"',
  '"[0:0:0:0:0:0:0:1]:1"',
  'localhost:1',
  'LOCALHOST:1',
])
  test(`admin: ${admin} is taken`, (t) => {
    t.notThrows(() => load(t, { yaml: `admin: ${admin}` }));
  });

test(tells, 'listen and admin cannot share a port', {
  yaml: 'listen: :5001',
  says: ['admin: listen has port 5001 already; write another one'],
});

test(tells, 'metrics.listen has a port of its own', {
  yaml: 'metrics: { listen: 10.0.0.1:5000 }\nadmin: 127.0.0.1:5000',
  says: [
    'admin: listen has port 5000 already; write another one',
    'metrics.listen: listen has port 5000 already; write another one',
  ],
});

test(tells, 'metrics.listen does not share the port of admin', {
  yaml: 'metrics: { listen: :5001 }',
  says: ['metrics.listen: admin has port 5001 already; write another one'],
});

test('metrics.listen may stand on a network', (t) => {
  const { config } = load(t, { yaml: 'metrics: { listen: :9101 }' });
  t.deepEqual(config.metrics, { listen: { host: '0.0.0.0', port: 9101 } });
});

test(tells, 'the store needs room and a known durability', {
  yaml: 'store: { path: "", maxBytes: 0, minFreeBytes: -1, durability: half }',
  says: [
    'store.path: write the path of a folder',
    'store.maxBytes: write more than 0; the store needs room',
    'store.minFreeBytes: write a size such as "100GiB" or "50MB", not "-1"',
    'store.durability: write full or rename',
  ],
});

test(tells, 'without docker.io among the upstreams the default upstream must be said', {
  yaml: 'upstreams: { ghcr.io: ~, quay.io: ~ }',
  says: [
    'defaultUpstream: docker.io, its default, is not under upstreams; write one of ghcr.io, quay.io',
  ],
});

test(tells, 'an empty list of upstreams is refused', {
  yaml: 'upstreams: {}',
  says: ['defaultUpstream: docker.io, its default, is not under upstreams; add one there'],
});

test(tells, 'upstreams without a value is refused, and does not open the well-known ones', {
  yaml: 'upstreams:',
  says: ['upstreams: write a map of registries; leave the key out for the well-known public ones'],
});

test(tells, 'an alias as the default upstream is refused with its name', {
  yaml: 'defaultUpstream: index.docker.io',
  says: ['defaultUpstream: write docker.io'],
});

test(tells, 'a default upstream that is not well known must be configured', {
  yaml: 'defaultUpstream: reg.example',
  says: [
    'defaultUpstream: reg.example is not under upstreams; write one of docker.io, ghcr.io, quay.io, gcr.io, us.gcr.io, eu.gcr.io, asia.gcr.io, mirror.gcr.io, registry.k8s.io, mcr.microsoft.com, public.ecr.aws, nvcr.io, registry.gitlab.com, icr.io, registry.access.redhat.com',
  ],
});

test(tells, 'the name of an upstream is a host in lower case with a dot or a port', {
  yaml: [
    'upstreams:',
    '  docker.io: ~',
    '  registry-1.docker.io: ~',
    '  GHCR.io: ~',
    '  https://quay.io: ~',
    '  library: ~',
    '  reg.example/path: ~',
    '  reg.example_5000: ~',
    '  reg.example:70000: ~',
    '  __proto__: {}',
  ].join('\n'),
  says: [
    'upstreams.registry-1.docker.io: write docker.io, the name of this registry',
    'upstreams.GHCR.io: write ghcr.io, the name of this registry',
    'upstreams.https://quay.io: write quay.io, the name of this registry',
    "upstreams.library: a registry's name is its host and port, such as reg.example:5000",
    'upstreams.reg.example/path: write reg.example, the name of this registry',
    'upstreams.reg.example_5000: write reg.example:5000, the name of this registry',
    "upstreams.reg.example:70000: a registry's name is its host and port, such as reg.example:5000",
    "upstreams.__proto__: a registry's name is its host and port, such as reg.example:5000",
  ],
});

const url = test.macro({
  exec: (t: ExecutionContext, value: string, says: string) =>
    t.deepEqual(problemsOf(t, { yaml: upstream(`url: ${JSON.stringify(value)}`) }), [
      `upstreams.docker.io.url: ${says}`,
    ]),
  title: (_, value) => `the url ${value} is refused`,
});
const SCHEME = 'write a URL that begins with https:// or http://';
const USER =
  'take the user and the password out of the URL and write credentials: { username: NAME, password: { file: PATH } }';
const FORMS =
  'for a mirror of several registries write https://HOST/v2/PREFIX or https://HOST/?ns=REGISTRY';
const QUERY = `write the URL without a query and without a fragment; ${FORMS}`;
const V2 = `write the URL without /v2 at its end, which is added to every request; ${FORMS}`;
const PREFIX =
  'behind /v2/ write what repositories there begin with, such as docker.io or a project, in lower case; a port is written as in reg.example_5000';
const NAMESPACE = 'behind ns= write the name of a registry, such as docker.io';
test(url, 'no host', SCHEME);
test(url, 'user:hunter2@reg.example', SCHEME);
test(url, 'https://', SCHEME);
test(url, 'https://user:hunter2@reg.example', USER);
test(url, 'https://user@reg.example', USER);
test(url, 'https://reg.example/?a=b', QUERY);
test(url, 'https://reg.example?', QUERY);
test(url, 'https://reg.example#a', QUERY);
test(url, 'https://reg.example/v2', V2);
test(url, 'https://reg.example/path/v2/', V2);
test(url, 'https://reg.example/v2/?ns=docker.io', V2);
test(url, 'https://reg.example/?ns=docker.io&a=b', QUERY);
test(url, 'https://reg.example/?ns=docker.io&ns=ghcr.io', QUERY);
test(url, 'https://reg.example/?ns=docker.io#a', QUERY);
test(url, 'https://reg.example/?ns=', NAMESPACE);
test(url, 'https://reg.example/?ns=Docker.io', NAMESPACE);
test(url, 'https://reg.example/?ns=a/b', NAMESPACE);
test(url, 'https://reg.example/v2/Project', PREFIX);
test(url, 'https://reg.example/v2/reg.example:5000', PREFIX);
test(url, 'https://reg.example/v2/a//b', PREFIX);
test(url, 'https://reg.example/v2/a%2fb', PREFIX);
test(
  url,
  'https://reg.example/v2/docker.io?ns=docker.io',
  'a prefix behind /v2/ and ns say the same; write one of the two',
);

test(tells, 'certificates of clients are shown in TLS, and verified by roots', {
  yaml: 'access: { certificates: { ca: text.pem }, limits: { downloads: 0 } }',
  files: { 'text.pem': 'no certificate' },
  says: [
    'access.certificates.ca: DIR/text.pem is not a PEM file',
    'access.limits.downloads: write a whole number of 1 or more',
    'access.certificates: clients show certificates in TLS alone; write listen: { address: …, tls: { cert: PATH, key: PATH } }',
  ],
});

test(tells, 'certificates are files that can be read, and come with their keys', {
  yaml: upstream('tls: { ca: gone.pem, cert: text.pem, insecure: yes }'),
  files: { 'text.pem': 'no certificate' },
  says: [
    'upstreams.docker.io.tls.ca: cannot read DIR/gone.pem: there is no such file',
    'upstreams.docker.io.tls.cert: DIR/text.pem is not a PEM file',
    'upstreams.docker.io.tls.insecure: write true or false',
  ],
});

test(tells, 'authorities that are no certificates or not whole are refused', {
  yaml: 'defaultUpstream: a.example\nupstreams: { a.example: { tls: { ca: cut.pem } }, b.example: { tls: { ca: key.pem } }, c.example: { tls: { ca: bad.pem } } }',
  files: {
    'cut.pem': '-----BEGIN CERTIFICATE-----\nMIIB\n',
    'key.pem': '-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n',
    'bad.pem': '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
  },
  says: ['a', 'b', 'c'].map(
    (name, index) =>
      `upstreams.${name}.example.tls.ca: DIR/${['cut', 'key', 'bad'][index]}.pem holds no certificate, or one that is not whole`,
  ),
});

test(tells, 'a client certificate without its key is refused', {
  yaml: upstream('tls: { cert: cert.pem }'),
  files: { 'cert.pem': '-----BEGIN CERTIFICATE-----\n' },
  says: ['upstreams.docker.io.tls: cert and key belong together; write both or neither'],
});

test(tells, 'a certificate and a key that are none are refused before the server starts', {
  yaml: `listen: { tls: { cert: a.pem, key: a.pem } }\n${upstream('tls: { cert: a.pem, key: a.pem }')}`,
  files: { 'a.pem': '-----BEGIN CERTIFICATE-----\n' },
  says: [
    'listen.tls: TLS cannot use cert and key (ERR_OSSL_PEM_BAD_END_LINE)',
    'upstreams.docker.io.tls: TLS cannot use cert and key (ERR_OSSL_PEM_BAD_END_LINE)',
  ],
});

test(tells, 'a certificate in the file itself is refused and not repeated', {
  yaml: upstream('tls: { ca: "-----BEGIN CERTIFICATE-----\\nMIIB" }'),
  says: ['upstreams.docker.io.tls.ca: write the path of a PEM file, not what is in it'],
});

test(tells, 'a proxy is an http URL without a path', {
  yaml: 'upstreams: { docker.io: { proxy: proxy.example:3128 }, a.example: { proxy: "http://proxy/x" }, b.example: { proxy: "socks5://proxy:1080" } }',
  says: ['docker.io', 'a.example', 'b.example'].map(
    (name) => `upstreams.${name}.proxy: write the proxy as http://HOST:PORT or https://HOST:PORT`,
  ),
});

test(tells, "a proxy's password in the file is refused and not repeated", {
  yaml: upstream('proxy: "http://u:hunter2@proxy:3128"'),
  says: [
    "upstreams.docker.io.proxy: a proxy's password does not stand in this file; leave the key out and set HTTPS_PROXY in the environment",
  ],
});

test(tells, 'where an upstream may lead is hosts and ranges of addresses', {
  yaml: 'upstreams: { docker.io: { storage: ["a_b", 10.0.0.0/33, "", "x:65536", "*.", 10.0.0.1, "x:443"], realms: ["fd12::/129", "*.x"] } }',
  says: [...[0, 1, 2, 3, 4].map((n) => `storage[${n}]`), 'realms[0]'].map(
    (key) =>
      `upstreams.docker.io.${key}: write a host, *.host for all below it, an address, or a range of addresses such as 10.0.0.0/8, each with a port or without`,
  ),
});

test(tells, 'authorities that alone count are named', {
  yaml: upstream('tls: { only: true }'),
  says: [
    'upstreams.docker.io.tls: only counts those of ca alone; write ca: PATH, or leave only out',
  ],
});

test(tells, 'hosts are in lower case and belong to one upstream', {
  yaml: 'upstreams: { docker.io: { hosts: [Hub.example, "a_b", hub.example, hub.example] }, ghcr.io: { hosts: [x:5000, hub.example] } }',
  says: [
    'upstreams.docker.io.hosts[0]: write hub.example',
    'upstreams.docker.io.hosts[1]: write a host in lower case, and a port if it has one',
    'upstreams.ghcr.io.hosts[1]: hub.example is a host of docker.io already',
  ],
});

test(
  tells,
  'an empty allow list is refused: it would mean everything to one reader and nothing to another',
  {
    yaml: upstream('allow: [], deny: [""]'),
    says: [
      'upstreams.docker.io.allow: an empty list would allow nothing; leave the key out to allow everything',
      'upstreams.docker.io.deny[0]: write a pattern such as "library/*" or "myorg/**"',
    ],
  },
);

test(tells, 'a pattern that no name can match is refused where it stands', {
  yaml: `store: { pins: [docker.io/library/app, "ghcr.io/[/*"] }
upstreams:
  docker.io: { allow: ["**", "!(a)"], deny: [a b], tags: { immutable: ["*:v{1", "a b:v1"] } }`,
  says: [
    'store.pins[1]: "ghcr.io/[/*" has [ where no name has it; write *, ?, [a-z] or {a,b} for what varies',
    'upstreams.docker.io.allow[1]: "!(a)" has ! where no name has it; write *, ?, [a-z] or {a,b} for what varies',
    'upstreams.docker.io.deny[0]: "a b" has   where no name has it; write *, ?, [a-z] or {a,b} for what varies',
    'upstreams.docker.io.tags.immutable[0]: "v{1" opens { and does not close it; write {a,b}',
    'upstreams.docker.io.tags.immutable[1]: "a b" has   where no name has it; write *, ?, [a-z] or {a,b} for what varies',
  ],
});

test(tells, 'segments is auto, or a number of connections', {
  yaml: 'upstreams: { docker.io: { segments: 0 }, a.example: { segments: 17 }, b.example: { segments: many } }',
  says: ['docker.io', 'a.example', 'b.example'].map(
    (name) => `upstreams.${name}.segments: write auto, or a whole number from 1 to 16`,
  ),
});

test(tells, 'ranges is auto, whole or sparse', {
  yaml: 'upstreams: { docker.io: { ranges: lazy } }',
  says: ['upstreams.docker.io.ranges: write auto, whole or sparse'],
});

test(tells, 'concurrency is a whole number of 1 or more', {
  yaml: 'upstreams: { docker.io: { concurrency: 0 }, a.example: { concurrency: 1.5 }, b.example: { concurrency: many } }',
  says: ['docker.io', 'a.example', 'b.example'].map(
    (name) => `upstreams.${name}.concurrency: write a whole number of 1 or more`,
  ),
});

test(tells, 'the times of tags are checked one by one', {
  yaml: upstream(
    'tags: { ttl: 5 m, revalidateTimeout: 0s, staleIfError: never, negativeTtl: forever, immutable: [v1] }',
  ),
  says: [
    'upstreams.docker.io.tags.ttl: write 5m, not "5 m"',
    'upstreams.docker.io.tags.revalidateTimeout: write more than 0s; staleWhileRevalidate: forever answers at once and asks upstream behind it',
    'upstreams.docker.io.tags.staleIfError: write a duration such as "5m" or "1h30m", not "never"',
    'upstreams.docker.io.tags.negativeTtl: write a duration such as "5m" or "1h30m", not "forever"',
    'upstreams.docker.io.tags.immutable[0]: write REPOSITORY:TAG, where both may be patterns, such as "*:v[0-9]*"',
  ],
});

test(tells, 'a revalidate timeout that outlasts every client is refused', {
  yaml: upstream('tags: { revalidateTimeout: 30d }'),
  says: ['upstreams.docker.io.tags.revalidateTimeout: write at most "1h"'],
});

test(tells, 'a bandwidth is a rate of more than nothing', {
  yaml: 'upstreams: { docker.io: { bandwidth: 50MiB }, a.example: { bandwidth: 5 }, b.example: { bandwidth: 0MiB/s } }',
  says: [
    'upstreams.docker.io.bandwidth: write 50MiB/s, not "50MiB"',
    'upstreams.a.example.bandwidth: write a rate such as "50MiB/s"',
    'upstreams.b.example.bandwidth: write more than 0; leave the key out for no limit',
  ],
});

test(tells, 'YAML that cannot be read is refused with line and column and without its text', {
  yaml: 'store: { path: "hunter2\nlisten: [',
  says: [
    'line 2, column 10: Missing closing "quote',
    'line 2, column 10: Flow map in block collection must be sufficiently indented and end with a }',
  ],
});

for (const value of [
  '!hunter2',
  '*hunter2',
  '&hunter2 *x',
  '|hunter2',
  '>9hunter2',
  '"\\xhunter2"',
  '"a" "hunter2"',
  '@hunter2',
  '%hunter2',
  'hunter2: hunter2',
  '\n%hunter2',
  'a\n---\nhunter2',
]) {
  test(`YAML that cannot be read is not repeated: ${JSON.stringify(value)}`, (t) => {
    const problems = problemsOf(t, { yaml: `password: ${value}` });
    t.deepEqual(
      problems.filter((problem) => !/^line \d, column \d+: [A-Z][^"!\\]+$/.test(problem)),
      [],
    );
    t.notRegex(problems.join('\n'), /hu/);
  });
}

test(tells, 'a key that stands twice, a tag and an alias that mean nothing are refused', {
  yaml: 'offline: true\noffline: false\nlisten: !env LISTEN\nadmin: *where\n',
  says: [
    'line 2, column 1: Map keys must be unique',
    'line 3, column 9: Unresolved tag',
    'line 4, column 8: Unknown alias',
  ],
});

test(tells, 'aliases that multiply without end are refused', {
  yaml: [
    'a: &a [x, x, x, x, x, x, x, x]',
    'b: &b [*a, *a, *a, *a, *a, *a, *a, *a]',
    'c: &c [*b, *b, *b, *b, *b, *b, *b, *b]',
    'd: &d [*c, *c, *c, *c, *c, *c, *c, *c]',
  ].join('\n'),
  says: ['Excessive alias count indicates a resource exhaustion attack'],
});
