/** What `config check` finds of who may pull what. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashSync } from '@node-rs/bcrypt';
import test, { type ExecutionContext } from 'ava';
import { issueCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { AccessSite } from './run-access.ts';

const HASH = hashSync('secret', 4);
const USERS = `alice:${HASH}\nbob:${HASH}\n`;
const OPEN_HUB = `{ who: [anonymous], may: [pull], images: ['docker.io/**'] }`;

interface Site {
  readonly rules?: readonly string[];
  /** Keys of `access` beside the rules. */
  readonly access?: string;
  /** At the top of the file. */
  readonly top?: string;
  readonly files?: Readonly<Record<string, string>>;
}

function siteOf(
  t: ExecutionContext,
  { rules = [], access = 'htpasswd: { file: htpasswd }', top, files }: Site,
) {
  const yaml = [
    top ?? 'listen: 127.0.0.1:5000',
    "upstreams: { docker.io: ~, ghcr.io: ~, 'reg.example:5000': ~ }",
    `access:\n  ${access}\n  rules:`,
    ...[OPEN_HUB, ...rules].map((rule) => `    - ${rule}`),
  ].join('\n');
  const site = new AccessSite(t, yaml, { htpasswd: USERS, ...files });
  chmodSync(join(site.cwd, 'htpasswd'), 0o640);
  return site;
}

/** What is warned of, without its path where that is of the rule behind the first one. */
async function warnings(t: ExecutionContext, site: Site): Promise<string[]> {
  const { code, stdout, stderr } = await siteOf(t, site).run('config', 'check', '--json');
  t.is(code, 0, stderr);
  const { warnings: found } = JSON.parse(stdout) as { warnings: string[] };
  return found.map((warning) => warning.replace(/^access\.rules\[1\]\.?/, ''));
}

const ruleOf = (who: string, images = 'ghcr.io/org/**', rest = ''): string =>
  `{ who: ['${who}'], may: [pull], images: ['${images}']${rest} }`;

const IMAGES = [
  ['nginx', 'docker.io/library/nginx'],
  ['nginx-*', 'docker.io/library/nginx-*'],
  ['library/nginx', 'docker.io/library/nginx'],
  ['docker.io/nginx', 'docker.io/library/nginx'],
  ['docker.io/*', 'docker.io/library/*'],
  ['index.docker.io/org/**', 'docker.io/org/**'],
  ['https://ghcr.io/org/**', 'ghcr.io/org/**'],
  ['mirror.example:5000/ghcr.io/org/**', 'ghcr.io/org/**'],
  ['reg.example_5000/team/**', 'reg.example:5000/team/**'],
] as const;

test('config check: a glob over images as clients or the mirror name them matches none, and what to write', async (t) => {
  const globs = IMAGES.map(([written]) => written).join("', '");
  t.deepEqual(
    await warnings(t, { rules: [ruleOf('user:alice', globs)] }),
    IMAGES.map(
      ([, right], at) =>
        `images[${at}]: it matches no repository: each has its registry in front; write ${right}`,
    ),
  );
});

test('config check: rules know no tags, and no registry that is not configured', async (t) => {
  const of = async (...globs: string[]) =>
    warnings(t, { rules: [ruleOf('user:alice', globs.join("', '"))] });
  const tags = [':1.*', ':latest', '@sha256:**'];
  t.deepEqual(
    await of(...tags.map((tag) => `ghcr.io/org/app${tag}`)),
    tags.map(
      (_, at) =>
        `images[${at}]: it matches no repository, and rules are about these, whatever the tag; write ghcr.io/org/app`,
    ),
  );
  const names = ['quay.io', 'q*.io'];
  t.deepEqual(
    await of(...names.map((name) => `${name}/x/**`)),
    names.map(
      (name, at) =>
        `images[${at}]: ${name} is not under upstreams; add it there, or write one of docker.io, ghcr.io, reg.example:5000`,
    ),
  );
  t.deepEqual(await of('quay.io', 'gcr.io/a/**', 'ghcr.oi/org/app', 'docker.oi/nginx'), [
    'images[0]: quay.io is not under upstreams; add it there, or write one of docker.io, ghcr.io, reg.example:5000',
    'images[1]: gcr.io is not under upstreams; add it there, or write one of docker.io, ghcr.io, reg.example:5000',
    'images[2]: ghcr.oi is not under upstreams; did you mean ghcr.io/org/app?',
    'images[3]: docker.oi is not under upstreams; did you mean docker.io/library/nginx?',
  ]);
  t.deepEqual(await of('docker.io', 'reg.example:5000', 'GHCR.io/Org/App'), [
    'images[0]: it matches no repository: it is a registry; write docker.io/** for all of it',
    'images[1]: it matches no repository: it is a registry; write reg.example:5000/** for all of it',
    'images[2]: it matches no repository: names are lower case; write ghcr.io/org/app',
  ]);
  t.deepEqual(await of('ghcr.io/'), [
    'images[0]: it matches no repository: write one with its registry, in lower case, such as ghcr.io/org/**',
  ]);
});

test('config check: globs that match some repository are let pass', async (t) => {
  const sound = ['*/org/app', '{ghcr.io,docker.io}/org/**', 'reg.example:5000/a', 'gh*/**', '**'];
  const globs = [...sound, '**/secret', 'ghcr.io/org/[a-z]*', 'docker.io/library/*'];
  t.deepEqual(await warnings(t, { rules: [ruleOf('user:alice', globs.join("', '"))] }), []);
});

test('config check: names of nobody', async (t) => {
  const of = async (who: string, access?: string) =>
    warnings(t, { rules: [ruleOf(who)], ...(access !== undefined && { access }) });
  const [unknown = ''] = await of('user:carol');
  t.regex(
    unknown,
    /^who\[0\]: it names nobody: .*htpasswd has no such user; add one, or take it out$/,
  );
  for (const who of ['user:alice', 'user:a*', 'user:*', 'token:ci']) t.deepEqual(await of(who), []);
  t.is((await of('user:c*')).length, 1);
  t.deepEqual(await of('user:alice', 'token: { ttl: 5m }'), [
    'who[0]: it names nobody, for there is no access.htpasswd; set that, or take it out',
  ]);
  for (const [who, key] of [
    ['k8s:prod:team:app', 'kubernetes'],
    ['oidc:corp:alice', 'oidc'],
    ['cert:node', 'certificates'],
  ]) {
    t.deepEqual(await of(who!), [
      `who[0]: it names nobody, for there is no access.${key}; set that, or take it out`,
    ]);
  }
  t.deepEqual(await of('group:devs'), [
    'who[0]: it names nobody, for nothing tells the groups of who asks; set groups of access.oidc, or take it out',
  ]);
});

const ISSUERS = `token: { ttl: 5m }
  oidc:
    - { name: corp, issuer: 'https://id.example', audience: entrepot, jwks: { url: 'https://id.example/jwks', token: { file: htpasswd } } }
  kubernetes:
    - { name: prod, issuer: 'https://kubernetes.default.svc', audience: entrepot, jwks: { url: 'https://10.0.0.1/jwks' } }`;

test('config check: names of issuers that are configured, and groups that one of them tells', async (t) => {
  const of = async (who: string, access = ISSUERS) =>
    warnings(t, { rules: [ruleOf(who)], access, files: { htpasswd: 'bearer' } });
  for (const who of [
    'k8s:prod:team:app',
    'k8s:prod:team:*',
    'k8s:**',
    'oidc:corp:alice',
    'oidc:c*:*',
  ]) {
    t.deepEqual(await of(who), [], who);
  }
  t.deepEqual(await of('k8s:stage:team:app'), [
    'who[0]: it names nobody, for access.kubernetes has no such name; write one of prod',
  ]);
  t.deepEqual(await of('oidc:other:alice'), [
    'who[0]: it names nobody, for access.oidc has no such name; write one of corp',
  ]);
  t.deepEqual(await of('k8s:prod:team'), [
    'who[0]: it names nobody; write k8s:CLUSTER:NAMESPACE:ACCOUNT',
  ]);
  t.deepEqual(await of('oidc:corp'), ['who[0]: it names nobody; write oidc:ISSUER:NAME']);
  t.regex((await of('group:devs'))[0]!, /nothing tells the groups/);
  t.deepEqual(
    await of('group:devs', ISSUERS.replace('name: corp,', 'name: corp, groups: groups,')),
    [],
  );
});

test('config check: names of certificates where clients are asked for one', async (t) => {
  const { ca, issued } = await issueCertificates({ server: {} });
  const site = siteOf(t, {
    rules: [ruleOf('cert:node-*')],
    access: 'certificates: { ca: ca.crt }',
    top: 'listen: { address: "127.0.0.1:5000", tls: { cert: tls.crt, key: tls.key } }',
    files: {
      'ca.crt': String(ca),
      'tls.crt': String(issued.server.cert),
      'tls.key': String(issued.server.key),
    },
  });
  chmodSync(join(site.cwd, 'tls.key'), 0o600);
  const { code, stderr } = await site.run('config', 'check');
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' });
});

/** A rule, one behind it, and whether the latter gives nothing more. */
const PAIRS: readonly (readonly [string, string, boolean])[] = [
  [ruleOf('user:alice'), ruleOf('user:alice', 'ghcr.io/org/app'), true],
  [ruleOf('user:*'), ruleOf('user:bob', 'ghcr.io/org/a/**'), true],
  [ruleOf('user:alice'), ruleOf('user:bob'), false],
  [ruleOf('user:alice', 'ghcr.io/org/*'), ruleOf('user:alice', 'ghcr.io/org/**'), false],
  [ruleOf('user:alice', 'ghcr.io/org/**'), ruleOf('user:alice', 'ghcr.io/org/*/x'), true],
  [ruleOf('user:alice', 'ghcr.io/*/**'), ruleOf('user:alice', 'ghcr.io/**'), false],
  [ruleOf('user:alice', 'ghcr.io/{a,b}'), ruleOf('user:alice', 'ghcr.io/a'), true],
  [ruleOf('user:alice', 'ghcr.io/{a,a/*}'), ruleOf('user:alice', 'ghcr.io/a/**'), false],
  [ruleOf('user:alice', 'ghcr.io/a'), ruleOf('user:alice', 'ghcr.io/{a,b}'), false],
  [ruleOf('user:alice', 'ghcr.io/?'), ruleOf('user:alice', 'ghcr.io/*'), false],
  [ruleOf('user:alice', 'ghcr.io/[a-c]'), ruleOf('user:alice', 'ghcr.io/[a-c]'), true],
  [ruleOf('user:alice', 'ghcr.io/**', ', from: [10.0.0.0/8]'), ruleOf('user:alice'), false],
  [
    ruleOf('user:alice', 'ghcr.io/**', ', from: [10.0.0.0/8]'),
    ruleOf('user:alice', 'ghcr.io/a', ', from: [10.2.0.0/16, 10.3.0.1]'),
    true,
  ],
  [
    ruleOf('user:alice', 'ghcr.io/**', ', from: [10.2.0.0/16]'),
    ruleOf('user:alice', 'ghcr.io/a', ', from: [10.0.0.0/8]'),
    false,
  ],
  [
    `{ who: ['user:alice'], may: [operate] }`,
    `{ who: ['user:alice'], may: [metrics, view] }`,
    true,
  ],
  [`{ who: ['user:alice'], may: [view] }`, `{ who: ['user:alice'], may: [admin] }`, false],
  [ruleOf('user:alice'), `{ who: ['user:alice'], may: [list], images: ['ghcr.io/org/**'] }`, false],
];

test('config check: a rule that an earlier one covers gives nothing', async (t) => {
  for (const [wide, narrow, isCovered] of PAIRS) {
    const found = await warnings(t, {
      rules: [wide, narrow],
      top: 'listen: 0.0.0.0:5000\ntrustProxy: [192.0.2.1]',
    });
    const told =
      'access.rules[2]: it gives nothing that access.rules[1] does not give; take it out, or narrow that one';
    t.deepEqual(found, isCovered ? [told] : [], `${wide} ${narrow}`);
  }
});

test('config check: networks that a proxy in front hides, or that it is believed to be in', async (t) => {
  const rules = [ruleOf('user:alice', 'ghcr.io/org/**', ', from: [10.2.0.0/16]')];
  t.deepEqual(await warnings(t, { rules }), [
    'from: it never counts: listen is reached from this machine alone; name the proxy in front in trustProxy, or listen on a network',
  ]);
  const trusting = (range: string) => `listen: 127.0.0.1:5000\ntrustProxy: [${range}]`;
  t.deepEqual(await warnings(t, { rules, top: trusting('127.0.0.1') }), []);
  t.deepEqual(await warnings(t, { rules, top: trusting('10.0.0.0/8') }), [
    'from: whoever asks from 10.2.0.0/16 is believed any address, for trustProxy has it; name the proxies alone there',
  ]);
  const local = [ruleOf('user:alice', 'ghcr.io/org/**', ', from: [127.0.0.1, 10.2.0.0/16]')];
  t.deepEqual(await warnings(t, { rules: local }), []);
  t.regex(
    (
      await warnings(t, { rules: [`{ who: ['user:alice'], from: [10.2.0.0/16], may: [admin] }`] })
    )[0]!,
    /^from: it never counts: admin is reached from this machine alone/,
  );
});

test('config check: listeners that tell passwords or metrics to a network', async (t) => {
  const rules = [`{ who: ['user:alice'], may: [metrics] }`];
  const top = [
    'listen: 0.0.0.0:5000',
    'admin: { address: "0.0.0.0:5001", open: true }',
    'metrics: { listen: "0.0.0.0:5002" }',
  ].join('\n');
  t.deepEqual(await warnings(t, { rules, top }), [
    'listen: passwords and tokens reach it unencrypted; set tls, or name the proxy in front that has it in trustProxy',
    'admin: passwords and tokens reach it unencrypted; set tls',
    'metrics.listen: it asks for no role: whoever reaches it reads the metrics, whatever access.rules say',
  ]);
  t.deepEqual(
    await warnings(t, {
      rules,
      top: 'metrics: { listen: "127.0.0.1:5002" }\nlisten: 127.0.0.1:5000',
    }),
    [],
  );
});

test('config check: with access the admin door may stand on a network, with TLS and with roles', async (t) => {
  const rules = [`{ who: ['user:alice'], may: [admin] }`];
  const top = 'listen: 127.0.0.1:5000\nadmin: 0.0.0.0:5001';
  t.deepEqual(await warnings(t, { rules, top }), [
    'admin: passwords and tokens reach it unencrypted; set tls',
  ]);
  t.deepEqual(await warnings(t, { top }), [
    'admin: passwords and tokens reach it unencrypted; set tls',
    'admin: it is on a network, and no rule gives anybody a role there; write one, such as may: [view], or 127.0.0.1',
  ]);
});

test('config check: secrets that every user of the machine may read', async (t) => {
  const { issued } = await issueCertificates({ server: {} });
  const site = siteOf(t, {
    rules: [ruleOf('user:alice')],
    top: 'listen: { address: "127.0.0.1:5000", tls: { cert: tls.crt, key: tls.key } }',
  });
  const files = {
    'tls.crt': issued.server.cert,
    'tls.key': issued.server.key,
    password: 'hunter2',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(site.cwd, name), text);
  const check = async (mode: number) => {
    for (const name of ['htpasswd', ...Object.keys(files)]) chmodSync(join(site.cwd, name), mode);
    const { code, stderr } = await site.run('config', 'check');
    t.is(code, 0);
    return stderr;
  };
  const told = (path: string, name: string): string =>
    `warning: ${path}: every user of this machine may read it; take that away: chmod o-r DIR/${name}\n`;
  t.is(
    await check(0o644),
    told('access.htpasswd.file', 'htpasswd') + told('listen.tls.key', 'tls.key'),
  );
  t.is(await check(0o640), '');
  const yaml = `upstreams: { ghcr.io: { credentials: [{ username: a, password: { file: password } }] } }\ndefaultUpstream: ghcr.io\n`;
  const withIssuers = `listen: 127.0.0.1:5000\naccess:\n  ${ISSUERS}\n  rules: [${OPEN_HUB}]\n`;
  site.write(withIssuers.replace('file: htpasswd', 'file: password'));
  t.is(await check(0o644), told('access.oidc[0].jwks.token', 'password'));
  site.write(yaml);
  t.is(await check(0o604), told('upstreams.ghcr.io.credentials[0]', 'password'));
});

test('config check: Docker asks Docker Hub for what is refused, unless all of it is open', async (t) => {
  const site = siteOf(t, { rules: [ruleOf('user:alice')] });
  t.is((await site.run('config', 'check')).stderr, '');
  const yaml = (hub: string) =>
    `listen: 127.0.0.1:5000\naccess:\n  rules:\n    - { who: [anonymous], may: [pull], images: ['${hub}'] }\n`;
  site.write(yaml('docker.io/library/**'));
  t.regex(
    (await site.run('config', 'check')).stderr,
    /^warning: access: Docker asks Docker Hub itself for what is refused here/,
  );
  site.write(`upstreams: { ghcr.io: ~ }\ndefaultUpstream: ghcr.io\n${yaml('ghcr.io/library/**')}`);
  t.is((await site.run('config', 'check')).stderr, '');
});

const shutBy = (rules: string): string =>
  `listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\naccess: { rules: ${rules} }\n`;

test('config check: rules that can give nothing to anybody are a problem', async (t) => {
  const problem =
    'access.rules: no rule can give anything to anybody, so that all is refused; write one that does';
  const why = [
    'access.rules[0].who[0]: it names nobody, for there is no access.htpasswd; set that, or take it out',
    'access.rules[0].images[0]: it matches no repository: each has its registry in front; write docker.io/library/nginx',
  ];
  const shut = [
    ['[]'],
    [`[${ruleOf('user:nobody')}]`, why[0]],
    [`[${ruleOf('anonymous', 'nginx')}]`, why[1]],
  ] as const;
  for (const [rules, ...reasons] of shut) {
    const site = new AccessSite(t, shutBy(rules));
    const { code, stderr, stdout } = await site.run('config', 'check');
    t.deepEqual({ code, stdout }, { code: 78, stdout: '' });
    const problems = [...reasons, problem];
    t.deepEqual(stderr.split('\n'), [
      `entrepot: ${problems.length === 1 ? '1 problem' : '2 problems'} in DIR/entrepot.yaml`,
      ...problems.map((each) => `  ${each}`),
      '',
    ]);
  }
});

test('a server starts with rules that give nothing to anybody: who shuts all out does so at once', async (t) => {
  const site = new AccessSite(t, shutBy('[]'));
  const { url } = await site.serve();
  t.is((await get(`${url}/v2/library/nginx/manifests/latest`)).status, 401);
});
