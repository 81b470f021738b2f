import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createTempFolder } from '../helpers/mirror.ts';
import { ClientsCommand } from './run-clients.ts';

const YAML = 'upstreams: { docker.io: ~, ghcr.io: ~ }\n';

/** A node, and what answers at the mirror's address. */
async function start(t: ExecutionContext, status = 200) {
  const server = createServer((_, response) => response.writeHead(status).end());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const root = await createTempFolder(t);
  const command = new ClientsCommand(t, YAML);
  return {
    url,
    put: (path: string, text: string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    run: async (kind: string, what: string, address = url) =>
      command.run(kind, '--address', address, '--root', root, what),
  };
}

const IN_FORCE = `in force  /etc/docker/daemon.json
in force  /etc/docker/certs.d/ghcr.io/hosts.toml
`;

test('clients docker --check: 0 only when every file is in force and the mirror answers', async (t) => {
  const { url, run } = await start(t);
  t.deepEqual(await run('docker', '--check'), {
    code: 1,
    stdout: `not so    /etc/docker/daemon.json: it is not there
not so    /etc/docker/certs.d/ghcr.io/hosts.toml: it is not there
ok        ${url} answers
`,
    stderr: '',
  });
  await run('docker', '--write');
  const sound = { code: 0, stdout: `${IN_FORCE}ok        ${url} answers\n`, stderr: '' };
  t.deepEqual(await run('docker', '--check'), sound);
  const { stdout } = await run('docker', '--check', 'http://127.0.0.1:1');
  t.true(stdout.includes('daemon.json: ours in it is not as it would be written now'));
  t.true(stdout.endsWith('failed    http://127.0.0.1:1 does not answer: ECONNREFUSED\n'));
});

test('clients docker --check: what answers otherwise is no registry; a login that is wanted is one', async (t) => {
  const { url, run } = await start(t, 500);
  await run('docker', '--write');
  const told = `${IN_FORCE}failed    what listens at ${url} is no registry: it answered 500\n`;
  t.deepEqual(await run('docker', '--check'), { code: 1, stdout: told, stderr: '' });
  const guarded = await start(t, 401);
  await guarded.run('docker', '--write');
  t.like(await guarded.run('docker', '--check'), { code: 0 });
});

test('clients docker --check: a hosts.toml of Docker Hub with a host of its own takes the place of registry-mirrors', async (t) => {
  const { run, put } = await start(t);
  await run('docker', '--write');
  put('/etc/docker/certs.d/docker.io/hosts.toml', '[host."https://other.example"]\n');
  const { code, stdout } = await run('docker', '--check');
  t.is(code, 1);
  t.true(
    stdout.startsWith(
      'not so    /etc/docker/daemon.json: in the containerd image store /etc/docker/certs.d/docker.io/hosts.toml',
    ),
  );
  // The registry itself is one host, beside which registry-mirrors counts.
  put('/etc/docker/certs.d/docker.io/hosts.toml', 'server = "https://registry-1.docker.io"\n');
  t.like(await run('docker', '--check'), { code: 0 });
});

test('clients docker --check: the older image store reads no hosts.toml', async (t) => {
  const { run, put } = await start(t);
  put('/etc/docker/daemon.json', '{"features": {"containerd-snapshotter": false}}');
  await run('docker', '--write');
  const { code, stdout } = await run('docker', '--check');
  t.is(code, 1);
  t.true(
    stdout.includes(
      'not so    /etc/docker/certs.d/ghcr.io/hosts.toml: the image store that daemon.json names reads no hosts.toml\n',
    ),
  );
});

test('clients podman --check: a later file with a table of the same registry shadows ours', async (t) => {
  const { run, put } = await start(t);
  await run('podman', '--write');
  t.like(await run('podman', '--check'), { code: 0 });
  put('/etc/containers/registries.conf.d/99-site.conf', '[[registry]]\nlocation = "ghcr.io"\n');
  const { code, stdout } = await run('podman', '--check');
  t.is(code, 1);
  t.true(stdout.includes('/etc/containers/registries.conf.d/99-site.conf has a table of ghcr.io'));
});

test('clients containerd --check: without config_path nothing is in force', async (t) => {
  const { run, put } = await start(t);
  const config = '/etc/containerd/config.toml';
  put(config, 'version = 3\n');
  await run('containerd', '--write');
  t.like(await run('containerd', '--check'), { code: 0 });
  put(config, 'version = 2\n');
  const { code, stdout } = await run('containerd', '--check');
  t.is(code, 1);
  t.true(stdout.includes(`not so    ${config}: config_path is not set`));
});

test('clients k3s --check: another file that its configuration names is read instead', async (t) => {
  const { run, put } = await start(t);
  await run('k3s', '--write');
  t.like(await run('k3s', '--check'), { code: 0 });
  put('/etc/rancher/k3s/config.yaml', 'private-registry: /srv/registries.yaml\n');
  const { code, stdout } = await run('k3s', '--check');
  t.is(code, 1);
  t.true(stdout.includes('/etc/rancher/k3s/config.yaml has /srv/registries.yaml read instead'));
});
