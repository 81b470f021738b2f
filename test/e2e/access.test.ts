/** Real clients where the mirror asks who is there. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toolPath } from '../clients/tools.ts';
import { claimAccess, REFUSED } from './access-claims.ts';
import { startAccessWorld } from './access-world.ts';
import { AuthFile } from './auth-file.ts';
import { formatImage, type ImageName } from './client.ts';
import { Containerd } from './containerd.ts';
import { CtrLogin } from './ctr-login.ts';
import { Dockerd } from './dockerd.ts';
import { ownName, type Login } from './login-client.ts';
import { Podman } from './podman.ts';
import { Skopeo } from './skopeo.ts';
import { suite } from './suite.ts';
import { ToolLogin } from './tool-login.ts';

/** By which Docker keeps what it has for Docker Hub. */
const HUB_LOGIN = 'https://index.docker.io/v1/';

/** Refused at their mirror, engines ask Docker Hub itself, which this machine does not reach. */
const ASKS_HUB = { message: /registry-1\.docker\.io/ };

const run = suite('access', 'docker', 'dockerd', 'podman', 'containerd', 'ctr');

claimAccess(run, {
  name: 'docker',
  asksAtLogin: true,
  start: async ({ netns, mirror }) => {
    const { socket } = await Dockerd.start(netns, mirror.url);
    const { host } = new URL(mirror.url);
    const folder = join(netns.directory, 'docker-cli');
    const docker = ['docker', '--config', folder, '--host', `unix://${socket}`];
    return ToolLogin.create(netns, host, {
      authFile: 'docker-cli/config.json',
      login: (user) => [...docker, 'login', '--username', user, '--password-stdin', host],
      logout: [...docker, 'logout', host],
      pull: (images) => [
        ...images.map((image) => [...docker, 'pull', '--quiet', image]),
        [...docker, 'rmi', ...images],
      ],
    });
  },
});

claimAccess(run, {
  name: 'podman',
  asksAtLogin: true,
  start: async ({ netns, mirror }) => {
    const podman = await Podman.installed(netns);
    const { host } = new URL(mirror.url);
    const logins = ['--authfile', join(netns.directory, 'podman-auth.json')];
    const plain = [...logins, '--tls-verify=false'];
    const pull = ['pull', '--quiet', ...plain, '--signature-policy', podman.policy];
    return ToolLogin.create(netns, host, {
      authFile: 'podman-auth.json',
      login: (user) =>
        podman.command('login', ...plain, '--username', user, '--password-stdin', host),
      logout: podman.command('logout', ...logins, host),
      pull: (images) => [podman.command(...pull, ...images), podman.command('rmi', ...images)],
    });
  },
});

claimAccess(run, {
  name: 'skopeo',
  asksAtLogin: true,
  start: async ({ netns, mirror }) => {
    await Skopeo.create(netns, mirror.url);
    const { host } = new URL(mirror.url);
    const logins = ['--authfile', join(netns.directory, 'skopeo-auth.json')];
    const to = join(netns.directory, 'copied');
    const copy = ['skopeo', '--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
    return ToolLogin.create(netns, host, {
      authFile: 'skopeo-auth.json',
      login: (user) => {
        const flags = ['--tls-verify=false', '--username', user, '--password-stdin'];
        return ['skopeo', 'login', ...logins, ...flags, host];
      },
      logout: ['skopeo', 'logout', ...logins, host],
      pull: (images) =>
        images.flatMap((image) => [
          [...copy, ...logins, `docker://${image}`, `dir:${to}`],
          ['rm', '-r', to],
        ]),
    });
  },
});

claimAccess(run, {
  name: 'crane',
  asksAtLogin: false,
  start: async ({ netns, mirror }) => {
    const { host } = new URL(mirror.url);
    const crane = ['env', `DOCKER_CONFIG=${join(netns.directory, 'crane')}`, toolPath('crane')];
    return ToolLogin.create(netns, host, {
      authFile: 'crane/config.json',
      login: (user) => [...crane, 'auth', 'login', '--username', user, '--password-stdin', host],
      logout: [...crane, 'auth', 'logout', host],
      pull: (images) => [[...crane, 'pull', ...images, join(netns.directory, 'pulled.tar')]],
    });
  },
});

claimAccess(run, {
  name: 'containerd',
  asksAtLogin: false,
  start: async ({ netns, mirror }) =>
    new CtrLogin(await Containerd.start(netns, mirror.url), new URL(mirror.url).host),
});

run(
  'docker: through its mirror, with what it has of Docker Hub, it pulls what is open',
  async (t) => {
    const world = await startAccessWorld(t);
    const { netns, mirror, foreign, password } = world;
    const { socket } = await Dockerd.start(netns, mirror.url);
    const folder = join(netns.directory, 'docker-cli');
    const logins = new AuthFile(join(folder, 'config.json'));
    const docker = ['--config', folder, '--host', `unix://${socket}`];
    const pull = async (image: string) => netns.run('docker', ...docker, 'pull', '--quiet', image);
    await logins.write({ [HUB_LOGIN]: foreign });
    await pull('library/legacy:1');
    await t.throwsAsync(pull('library/app:1'), ASKS_HUB);
    // It shows its mirror what it has for Docker Hub, and nothing else.
    await logins.write({ [new URL(mirror.url).host]: password });
    await t.throwsAsync(pull('library/app:1'), ASKS_HUB);
    await logins.write({ [HUB_LOGIN]: password });
    await pull('library/app:1');
    t.false((await mirror.log()).includes(foreign.secret));
  },
);

run('docker: a build of several images with one login', async (t) => {
  const world = await startAccessWorld(t);
  const { netns, mirror, images, apiToken } = world;
  const { socket } = await Dockerd.start(netns, mirror.url);
  const { host } = new URL(mirror.url);
  const folder = join(netns.directory, 'docker-cli');
  const context = join(netns.directory, 'context');
  const parts = [images.oci, images.other, images.docker];
  await mkdir(context);
  await writeFile(
    join(context, 'Dockerfile'),
    parts.map(({ byTag }) => `FROM ${ownName(host, byTag)}\n`).join(''),
  );
  const docker = ['DOCKER_BUILDKIT=0', 'docker', '--config', folder, '--host', `unix://${socket}`];
  const build = async () => netns.run('env', ...docker, 'build', '--quiet', context);
  await t.throwsAsync(build(), REFUSED);
  await new AuthFile(join(folder, 'config.json')).write({ [host]: apiToken });
  await t.notThrowsAsync(build());
});

run(
  'containerd: a login of a pull counts at its mirrors, and so does one in their file',
  async (t) => {
    const world = await startAccessWorld(t);
    const { netns, mirror, images, password, keyFile, stranger } = world;
    const containerd = await Containerd.start(netns, mirror.url);
    const { hosts } = containerd;
    const pull = async (image: ImageName, login?: Login) => {
      const shown = login ? ['--user', `${login.user}:${login.secret}`] : [];
      const flags = ['--snapshotter', 'native', '--hosts-dir', hosts, ...shown];
      await containerd.ctr('images', 'pull', ...flags, formatImage(image));
      await containerd.ctr('images', 'rm', '--sync', formatImage(image));
    };
    await t.throwsAsync(pull(images.oci.byTag), ASKS_HUB);
    await t.throwsAsync(pull(images.oci.byTag, stranger), ASKS_HUB);
    for (const login of [password, keyFile]) {
      for (const image of [images.oci, images.other]) await pull(image.byTag, login);
    }
    const pair = Buffer.from(`${password.user}:${password.secret}`).toString('base64');
    await writeFile(
      join(hosts, '_default', 'hosts.toml'),
      `[host."${mirror.url}"]
capabilities = ["pull", "resolve"]
[host."${mirror.url}".header]
authorization = "Basic ${pair}"
`,
    );
    for (const image of [images.oci, images.other, images.docker]) await pull(image.byTag);
  },
);
