import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createFolder } from '../config/config-folder.ts';
import { runMain, startMain } from './run-main.ts';

const EXAMPLE = fileURLToPath(new URL('../../deploy/entrepot.example.yaml', import.meta.url));
const VALID = `
defaultUpstream: ghcr.io
upstreams:
  ghcr.io:
    tls: { insecure: true }
    credentials: { username: alice, password: { env: TOKEN } }
`;
const BROKEN = 'offline: perhaps\nstore: { maxBytes: lots }\n';
const PROBLEMS = [
  'offline: write true or false',
  'store.maxBytes: write a size such as "100GiB" or "50MB", not "lots"',
];
const WARNING = 'upstreams.ghcr.io.tls.insecure: the certificate of this upstream is not checked';

test('config check prints what is in force, and warnings beside it', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': VALID });
  const result = await runMain(['config', 'check'], { cwd, env: { TOKEN: 'hunter2' } });
  t.is(result.code, 0);
  t.is(result.stderr, `warning: ${WARNING}\n`);
  t.true(result.stdout.startsWith(`# ${cwd}/entrepot.yaml is valid. This is in force.\nlisten: `));
  t.true(result.stdout.includes('    url: https://ghcr.io\n'));
  t.true(result.stdout.includes('    credentials: { username: alice, password: (hidden) }\n'));
  t.false(result.stdout.includes('hunter2'));
});

test('config check --json is one document', async (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': VALID });
  const result = await runMain(['config', 'check', '--json'], { cwd, env: { TOKEN: 'hunter2' } });
  t.is(result.code, 0);
  t.is(result.stderr, '');
  t.false(result.stdout.includes('hunter2'));
  const { config, ...rest } = JSON.parse(result.stdout) as {
    config: { upstreams: Record<string, unknown> };
  };
  t.deepEqual(rest, {
    valid: true,
    file: join(cwd, 'entrepot.yaml'),
    warnings: [WARNING],
  } as never);
  t.deepEqual(Object.keys(config.upstreams), ['ghcr.io']);
});

test('config check shows no secret of any form, and no text of a secret file that is wrong', async (t) => {
  const files = {
    'key.json': '{"client_email":"a@b.example","private_key":"hunter2"}',
    'broken.json': '{"private_key":"hunter2"',
  };
  const accounts = (file: string) => `
upstreams:
  docker.io:
    credentials:
      - { username: alice, password: { env: TOKEN } }
      - { identityToken: { env: TOKEN } }
      - { token: { env: TOKEN } }
      - { provider: ibm, apiKey: { env: TOKEN } }
      - { provider: acr, tenant: t, client: c, secret: { env: TOKEN } }
      - { provider: gcp, key: { file: ${file} } }
`;
  const env = { TOKEN: 'hunter2' };
  for (const [file, code] of [
    ['key.json', 0],
    ['broken.json', 78],
  ] as const) {
    const cwd = createFolder(t, { ...files, 'entrepot.yaml': accounts(file) });
    for (const args of [['check'], ['check', '--json']]) {
      const result = await runMain(['config', ...args], { cwd, env });
      t.is(result.code, code);
      t.notRegex(result.stdout + result.stderr, /hunter/);
    }
  }
});

test('config check without a file prints the defaults', async (t) => {
  const result = await runMain(['config', 'check'], { cwd: createFolder(t, {}) });
  t.is(result.code, 0);
  t.is(result.stderr, '');
  t.true(result.stdout.startsWith('# No file: the defaults are in force.\nlisten: 0.0.0.0:5000\n'));
});

test('config check finds nothing wrong with the example file', async (t) => {
  const args = ['config', 'check', '--config', EXAMPLE];
  const { code, stderr } = await runMain(args, { cwd: createFolder(t, {}) });
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' });
});

for (const command of [['config', 'check'], ['serve']]) {
  test(`${command.join(' ')} tells every problem of a broken file and exits with 78`, async (t) => {
    const cwd = createFolder(t, { 'site.yaml': BROKEN });
    const result = await runMain([...command, '--config', 'site.yaml'], { cwd });
    t.deepEqual(result, {
      code: 78,
      stdout: '',
      stderr: `entrepot: 2 problems in ${cwd}/site.yaml\n  ${PROBLEMS.join('\n  ')}\n`,
    });
  });

  test(`${command.join(' ')} exits with 78 when the named file is missing`, async (t) => {
    const cwd = createFolder(t, { 'entrepot.yaml': VALID });
    const result = await runMain([...command, '-c', 'gone.yaml'], { cwd });
    t.deepEqual(result, {
      code: 78,
      stdout: '',
      stderr: `entrepot: 1 problem in ${cwd}/gone.yaml\n  cannot read ${cwd}/gone.yaml: there is no such file\n`,
    });
  });
}

test('config check --json puts the problems into the document', async (t) => {
  const cwd = createFolder(t, { 'site.yaml': BROKEN });
  const env = { ENTREPOT_CONFIG: 'site.yaml' };
  const { code, stdout, stderr } = await runMain(['config', 'check', '--json'], { cwd, env });
  t.is(code, 78);
  t.is(stderr, '');
  t.deepEqual(JSON.parse(stdout), {
    valid: false,
    file: join(cwd, 'site.yaml'),
    problems: PROBLEMS,
  });
});

for (const args of [
  ['config', 'schema'],
  ['config', 'schema', '--json'],
]) {
  test(`${args.join(' ')} prints a JSON Schema`, async (t) => {
    const { code, stdout, stderr } = await runMain(args, { cwd: createFolder(t, {}) });
    t.is(code, 0);
    t.is(stderr, '');
    const schema = JSON.parse(stdout) as { $schema: string; properties: object };
    t.is(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
    t.deepEqual(Object.keys(schema.properties), [
      'listen',
      'admin',
      'metrics',
      'trustProxy',
      'log',
      'tracing',
      'grace',
      'offline',
      'store',
      'defaultUpstream',
      'upstreams',
      'sync',
      'access',
      'admission',
      'bundles',
    ]);
  });
}

test('a reader that leaves early is no fault', async (t) => {
  const child = startMain(['config', 'schema'], { cwd: createFolder(t, {}) });
  child.stdout?.destroy();
  const [[code], stderr] = await Promise.all([once(child, 'exit'), text(child.stderr!)]);
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' });
});
