/** `clients` where rules say who may pull: no file names the upstream, and credentials have their place. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { parse as parseToml } from 'smol-toml';
import { parseAllDocuments } from 'yaml';
import { CLIENT_KINDS } from '../../src/clients/client-kinds.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { ClientsCommand } from './run-clients.ts';

const OPEN = 'listen: 10.0.0.7:5000\nupstreams: { docker.io: ~, ghcr.io: ~ }\n';
const GUARDED = `${OPEN}access: { rules: [{ who: ['token:ci'], may: [pull], images: ['**'] }] }\n`;

test('clients: where access is set every kind has the files of --no-fallback, and says where a login goes', async (t) => {
  const [open, guarded] = [new ClientsCommand(t, OPEN), new ClientsCommand(t, GUARDED)];
  for (const kind of CLIENT_KINDS) {
    const only = await open.printed(kind, '--no-fallback');
    const { files, steps, notes } = await guarded.printed(kind);
    t.deepEqual(files, only.files, kind);
    t.deepEqual(await guarded.printed(kind, '--no-fallback'), { files, steps, notes });
    const [login = '', ...others] = steps.filter((step) => !only.steps.includes(step));
    t.regex(login, /log(?:s )?in|login/, kind);
    t.deepEqual(others, []);
    t.regex(notes[0]!, /^rules say who may pull what \(access\): no file names the upstream/);
  }
});

test('clients docker: says that registry-mirrors does not obey, and how to pull so that it does', async (t) => {
  const { steps, notes } = await new ClientsCommand(t, GUARDED).printed('docker');
  t.true(notes.some((note) => note.startsWith('registry-mirrors is advisory: ')));
  t.regex(
    steps.join('\n'),
    /docker login 10\.0\.0\.7:5000; docker pull 10\.0\.0\.7:5000\/ghcr\.io\//,
  );
  const { notes: open } = await new ClientsCommand(t, OPEN).printed('docker');
  t.false(open.some((note) => note.includes('advisory')));
});

test('clients: where a rule of admission enforces every kind has the files of --no-fallback, and asks for no login', async (t) => {
  const rule = (mode: string) =>
    `${OPEN}admission: { trust: {}, rules: [{ images: ['ghcr.io/org/**'], mode: ${mode}, minAge: 48h }] }\n`;
  const [open, strict] = [new ClientsCommand(t, OPEN), new ClientsCommand(t, rule('enforce'))];
  const auditing = new ClientsCommand(t, rule('audit'));
  for (const kind of CLIENT_KINDS) {
    const only = await open.printed(kind, '--no-fallback');
    const { files, steps, notes } = await strict.printed(kind);
    t.deepEqual({ files, steps }, { files: only.files, steps: only.steps }, kind);
    t.regex(notes[0]!, /^rules say what may be pulled \(admission\): no file names the upstream/);
    t.deepEqual(await auditing.printed(kind), await open.printed(kind), kind);
  }
  const { notes } = await strict.printed('docker');
  t.true(notes.some((note) => note.startsWith('registry-mirrors is advisory: ')));
});

async function nodeOf(t: ExecutionContext, status: number) {
  const server = createServer((_, response) => response.writeHead(status).end());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const root = await createTempFolder(t);
  const run = async (yaml: string, kind: string, ...args: string[]) =>
    new ClientsCommand(t, yaml).run(kind, '--address', url, '--root', root, ...args);
  return { url, root, run };
}

test('clients --check: files of before access was set are not in force, for they name the upstream', async (t) => {
  const { url, run } = await nodeOf(t, 401);
  await run(OPEN, 'podman', '--write');
  const before = await run(OPEN, 'podman', '--check');
  t.is(before.code, 0);
  t.true(
    before.stdout.endsWith(
      `${url} answers, and asks for a login; to keep clients from the upstream, write the files with --no-fallback\n`,
    ),
  );
  const now = await run(GUARDED, 'podman', '--check');
  t.is(now.code, 1);
  t.regex(now.stdout, /^not so .*50-entrepot\.conf: ours in it is not as it would be written now/);
  await run(GUARDED, 'podman', '--write');
  const { code, stdout } = await run(GUARDED, 'podman', '--check');
  t.is(code, 0);
  t.true(stdout.endsWith(`${url} answers, and asks for a login\n`));
});

test('clients containerd: a login behind ours is of the mirror, stays, and goes with nobody', async (t) => {
  const { root, run, url } = await nodeOf(t, 401);
  const folder = join(root, 'etc', 'containerd');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.toml'), 'version = 3\n');
  await run(GUARDED, 'containerd', '--write');
  const path = join(folder, 'certs.d', 'ghcr.io', 'hosts.toml');
  const header = '[header]\n  Authorization = "Basic Y2k6c2VjcmV0"\n';
  writeFileSync(path, `${readFileSync(path, 'utf8')}${header}`);
  const { server, header: read } = parseToml(readFileSync(path, 'utf8'));
  t.is(server, url);
  t.deepEqual({ ...(read as object) }, { Authorization: 'Basic Y2k6c2VjcmV0' });
  t.is((await run(GUARDED, 'containerd', '--check')).code, 0);
  await run(GUARDED, 'containerd', '--write');
  t.true(readFileSync(path, 'utf8').endsWith(header));
});

test('clients k3s: a login that the operator writes under configs stays beside ours', async (t) => {
  const { root, run, url } = await nodeOf(t, 401);
  const folder = join(root, 'etc', 'rancher', 'k3s');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'registries.yaml');
  const { host } = new URL(url);
  const login = { [host]: { auth: { username: 'ci', password: 'secret' } } };
  writeFileSync(path, `configs:\n  "${host}":\n    auth: { username: ci, password: secret }\n`);
  t.is((await run(GUARDED, 'k3s', '--write')).code, 0);
  const [document] = parseAllDocuments(readFileSync(path, 'utf8'));
  const { mirrors, configs } = document!.toJS() as { mirrors: object; configs: object };
  t.deepEqual(Object.keys(mirrors), ['docker.io', 'ghcr.io']);
  t.deepEqual(configs, login);
  t.is((await run(GUARDED, 'k3s', '--check')).code, 0);
});
