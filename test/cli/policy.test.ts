/** `policy check`: who may have an image, and which rule says so. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashSync } from '@node-rs/bcrypt';
import test from 'ava';
import type { PolicyReport } from '../../src/api/access-api.ts';
import { claimPort } from '../helpers/claim-port.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { AccessSite } from './run-access.ts';

const RULES = `access:
  rules:
    - { who: [anonymous], may: [pull], images: ['docker.io/library/**'] }
    - { who: [anonymous], from: [10.2.0.0/16], may: [pull], images: ['ghcr.io/org/**'] }
    # Of the team.
    - who: ['user:alice', 'group:devs']
      may: [pull, list]
      images: ['ghcr.io/org/**']
    - { who: ['user:ops'], may: [admin] }
`;

function yamlOf(port: number, rest = RULES): string {
  return [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${port}`,
    'store: { minFreeBytes: 0 }\nupstreams: { docker.io: ~, ghcr.io: ~ }',
    rest,
  ].join('\n');
}

const nobodyNow = (name: string): string =>
  `nobody has the name ${name} now: the rules are told as if somebody had it\n`;

test('policy check without a server and a store: the rule that decides, by its place and its line', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  const allowed = await site.run('policy', 'check', 'ghcr.io/org/app:1', '--as', 'user:alice');
  const rule =
    'access.rules[2] (DIR/entrepot.yaml:10): user:alice, group:devs may pull, list ghcr.io/org/**';
  t.deepEqual(allowed, {
    code: 0,
    stdout: `ghcr.io/org/app for user:alice\n  pull  allowed by ${rule}\n  list  allowed by ${rule}\n`,
    stderr: nobodyNow('user:alice'),
  });
  t.false(existsSync(join(site.cwd, 'data')));
});

test('policy check takes an image as any client names it', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  await site.serve();
  const names = ['nginx', 'nginx:1.27', 'library/nginx', 'index.docker.io/library/nginx'];
  for (const name of names) {
    const { code, stdout } = await site.run('policy', 'check', name, '--as', 'anonymous');
    t.is(code, 0, name);
    t.regex(
      stdout,
      /^docker\.io\/library\/nginx for anonymous\n {2}pull {2}allowed by access\.rules\[0\] /,
    );
  }
  const { code, stderr } = await site.run('policy', 'check', 'quay.io/a/b', '--as', 'anonymous');
  t.is(code, 1);
  t.regex(stderr, /quay\.io/);
});

test('policy check says of a refusal which rules are nearest, and what of each is in the way', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  await site.serve();
  const check = async (...args: string[]) => site.run('policy', 'check', ...args);
  t.deepEqual(await check('ghcr.io/org/app', '--as', 'user:bob', '--from', '10.3.0.1'), {
    code: 1,
    stdout: `ghcr.io/org/app for user:bob from 10.3.0.1
  pull  refused: no rule gives it; nearest are
        access.rules[1] (DIR/entrepot.yaml:8) gives it from other addresses: 10.2.0.0/16
        access.rules[2] (DIR/entrepot.yaml:10) gives it to others: user:alice, group:devs
        access.rules[0] (DIR/entrepot.yaml:7) gives other images: docker.io/library/**
  list  refused: no rule gives it; nearest are
        access.rules[2] (DIR/entrepot.yaml:10) gives it to others: user:alice, group:devs
`,
    stderr: nobodyNow('user:bob'),
  });
  const unnamed = await check('ghcr.io/org/app', '--as', 'anonymous');
  t.regex(unnamed.stdout, /rules\[1\] \S+ gives it from 10\.2\.0\.0\/16 alone; say with --from/);
  const other = await check('ghcr.io/other/app', '--as', 'user:alice');
  t.is(other.code, 1);
  t.regex(other.stdout, /rules\[0\] \S+ gives other images: docker\.io\/library\/\*\*/);
  t.regex(other.stdout, /rules\[2\] \S+ gives other images: ghcr\.io\/org\/\*\*/);
  const listed = await check('nginx', '--as', 'user:alice');
  t.is(listed.code, 0);
  t.regex(listed.stdout, /list {2}refused.*\n.*rules\[0\] \S+ gives pull of it, and not list/);
  const far = await check('ghcr.io/other/app', '--as', 'user:bob', '--json');
  t.deepEqual((JSON.parse(far.stdout) as PolicyReport).access?.list, {
    isAllowed: false,
    nearest: [],
  });
});

test('policy check counts the groups of a subject, and the network that it asks from', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  await site.serve();
  const codeOf = async (...args: string[]) =>
    (await site.run('policy', 'check', 'ghcr.io/org/app', ...args)).code;
  t.is(await codeOf('--as', 'user:bob'), 1);
  t.is(await codeOf('--as', 'user:bob', '--group', 'ops', '--group', 'devs'), 0);
  t.is(await codeOf('--as', 'user:bob', '--as', 'group:devs'), 0);
  t.is(await codeOf('--as', 'user:bob', '--from', '10.2.3.4'), 0);
  t.is(await codeOf('--as', 'anonymous', '--from', '10.3.3.4'), 1);
});

test('policy check --json has each verdict under the key of who gives it', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  const asked = ['ghcr.io/org/app', '--as', 'anonymous', '--from', '10.2.0.7', '--json'];
  const { code, stdout } = await site.run('policy', 'check', ...asked);
  t.is(code, 0);
  t.deepEqual(JSON.parse(stdout), {
    image: 'ghcr.io/org/app',
    subject: [],
    address: '10.2.0.7',
    isAllowed: true,
    access: {
      pull: {
        isAllowed: true,
        by: {
          place: 'access.rules[1]',
          who: ['anonymous'],
          from: ['10.2.0.0/16'],
          may: ['pull'],
          images: ['ghcr.io/org/**'],
          file: 'DIR/entrepot.yaml',
          line: 8,
        },
      },
      list: {
        isAllowed: false,
        nearest: [
          {
            place: 'access.rules[1]',
            who: ['anonymous'],
            from: ['10.2.0.0/16'],
            may: ['pull'],
            images: ['ghcr.io/org/**'],
            lacks: 'may',
            file: 'DIR/entrepot.yaml',
            line: 8,
          },
          {
            place: 'access.rules[2]',
            who: ['user:alice', 'group:devs'],
            may: ['pull', 'list'],
            images: ['ghcr.io/org/**'],
            lacks: 'who',
            file: 'DIR/entrepot.yaml',
            line: 10,
          },
        ],
      },
    },
  });
});

test('policy check where nobody is kept out says so', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort(), ''));
  const { code, stdout } = await site.run('policy', 'check', 'nginx', '--as', 'anonymous');
  t.is(code, 0);
  t.regex(stdout, /pull {2}allowed: the configuration has no access, so that everybody may/);
});

test('policy check asks a running server for the rules in force; a rule that the file has otherwise has no line', async (t) => {
  const port = await claimPort();
  const site = new AccessSite(t, yamlOf(port));
  await site.serve();
  const check = async () => site.run('policy', 'check', 'ghcr.io/org/app', '--as', 'user:alice');
  t.regex((await check()).stdout, /allowed by access\.rules\[2\] \(DIR\/entrepot\.yaml:10\): /);
  site.write(yamlOf(port).replace('user:alice', 'user:carol'));
  t.regex((await check()).stdout, /allowed by access\.rules\[2\]: user:alice, /);
});

test('the admin API says whose the rules are to who has the role view', async (t) => {
  const users = ['viewer', 'scraper'].map((user) => `${user}:${hashSync(user, 4)}\n`).join('');
  const rules = `access:
  htpasswd: { file: htpasswd }
  rules:
    - { who: ['user:viewer'], may: [view] }
    - { who: ['user:scraper'], may: [metrics] }
`;
  const site = new AccessSite(t, yamlOf(await claimPort(), rules), { htpasswd: users });
  const { adminUrl } = await site.serve();
  const ask = async (path: string, user?: string) => {
    const basic = user && Buffer.from(`${user}:${user}`).toString('base64');
    const headers = { ...(basic && { authorization: `Basic ${basic}` }) };
    return (await get(`${adminUrl}/api/v1/policy?${path}`, { headers })).status;
  };
  const path = 'image=nginx&as=anonymous';
  t.is(await ask(path), 401);
  t.is(await ask(path, 'scraper'), 403);
  t.is(await ask(path, 'viewer'), 200);
  for (const wrong of [
    'image=nginx&as=alice',
    'image=nginx&as=user:*',
    'image=nginx&from=here',
    'as=anonymous',
  ])
    t.is(await ask(wrong, 'viewer'), 400, wrong);
});

test('what policy check says is what a pull meets', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'app', layers: [100] });
  const repositories = ['library/app', 'org/app', 'other/app'];
  for (const repository of repositories) registry.addImage(repository, 'v1', image);
  const rules = `access:
  htpasswd: { file: htpasswd }
  rules:
    - { who: [anonymous], may: [pull], images: ['hub.example/library/**'] }
    - { who: ['user:a*'], from: [127.0.0.0/8], may: [pull], images: ['hub.example/org/**'] }
    - { who: ['user:*'], from: [10.0.0.0/8], may: [pull], images: ['hub.example/**'] }
`;
  const yaml = [
    `listen: 127.0.0.1:0\nadmin: 127.0.0.1:${await claimPort()}\nstore: { minFreeBytes: 0 }`,
    `defaultUpstream: hub.example\nupstreams: { hub.example: { url: "${registry.url}", hydrate: false } }`,
    rules,
  ].join('\n');
  const users = ['alice', 'bob'].map((user) => `${user}:${hashSync(user, 4)}\n`).join('');
  const site = new AccessSite(t, yaml, { htpasswd: users });
  const { url } = await site.serve();
  for (const repository of repositories) {
    for (const user of ['alice', 'bob', undefined]) {
      const basic = Buffer.from(`${user}:${user}`).toString('base64');
      const headers = user === undefined ? {} : { authorization: `Basic ${basic}` };
      const { status } = await get(`${url}/v2/${repository}/manifests/v1`, { headers });
      const subject = user === undefined ? 'anonymous' : `user:${user}`;
      const asked = [repository, '--as', subject, '--from', '127.0.0.1'];
      const { code } = await site.run('policy', 'check', ...asked);
      t.is(code === 0, status === 200, `${subject} ${repository}`);
    }
  }
});

test('policy check says of a user and of a token that are not there now; the verdict stays', async (t) => {
  const rules = `access:
  htpasswd: { file: htpasswd }
  rules: [{ who: ['user:**', 'token:**'], may: [pull], images: ['ghcr.io/**'] }]
`;
  const htpasswd = `alice:${hashSync('alice', 4)}\n`;
  const site = new AccessSite(t, yamlOf(await claimPort(), rules), { htpasswd });
  await site.serve();
  const check = async (...names: string[]) => {
    const asked = names.flatMap((name) => ['--as', name]);
    const { code, stderr } = await site.run('policy', 'check', 'ghcr.io/org/app', ...asked);
    return { code, stderr };
  };
  t.deepEqual(await check('user:alice', 'group:any'), { code: 0, stderr: '' });
  t.deepEqual(await check('user:alcie'), { code: 0, stderr: nobodyNow('user:alcie') });
  t.deepEqual(await check('token:ci'), { code: 0, stderr: nobodyNow('token:ci') });
  t.is((await site.run('token', 'create', 'ci')).code, 0);
  t.deepEqual(await check('token:ci'), { code: 0, stderr: '' });
  const { tokens } = JSON.parse((await site.run('token', 'list', '--json')).stdout) as {
    tokens: readonly { id: string }[];
  };
  t.is((await site.run('token', 'revoke', tokens[0]!.id)).code, 0);
  const { stdout } = await site.run('policy', 'check', 'ghcr.io/a', '--as', 'token:ci', '--json');
  t.deepEqual((JSON.parse(stdout) as PolicyReport).unknown, ['token:ci']);
});

test('an image behind the address of the mirror is told to begin with its registry', async (t) => {
  const site = new AccessSite(t, yamlOf(await claimPort()));
  await site.serve();
  const image = 'localhost:7443/docker.io/library/alpine';
  const commands = [
    ['policy', 'check', image, '--as', 'anonymous'],
    ['explain', image],
    ['warm', image],
  ];
  for (const command of commands) {
    const { code, stderr } = await site.run(...command);
    t.is(code, 64);
    t.regex(stderr, /begins with its registry, such as docker\.io\/library\/alpine, and not with/);
  }
  for (const host of ['127.0.0.1:7443', 'mirror.example']) {
    const named = `${host}/docker.io/library/alpine`;
    const { stderr } = await site.run('policy', 'check', named, '--as', 'anonymous');
    t.regex(stderr, /begins with its registry/, host);
  }
});

test('policy check: what names nobody, or several, is a slip of the command line', async (t) => {
  const site = new AccessSite(t, yamlOf(0));
  const slips = [
    ['--group', 'devs'],
    ['--from', '10.2.0.7'],
    ['--as', 'alice'],
    ['--as', 'user:*'],
    ['--as', 'user:alice', '--group', 'a b'],
    ['--as', 'user:alice', '--from', '10.0.0.0/8'],
  ];
  for (const slip of slips) t.is((await site.run('policy', 'check', 'nginx', ...slip)).code, 64);
});
