/** The image: built as the Dockerfile says, run read-only as its user, pulled through. */
import { spawnSync } from 'node:child_process';
import { chown, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { get } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { MirrorProcess } from '../helpers/process.ts';
import { BuiltImage } from './image.ts';

const DEPLOY = join(import.meta.dirname, '..', '..', 'deploy');
const MINUTES = 60_000;

interface Built {
  /** Absent where it could not be built. */
  built?: BuiltImage;
}

const obstacle =
  missingPackages('bwrap', 'debootstrap', 'ip', 'podman', 'unshare') ?? missingRights();
const test = testUnless('image', obstacle) as TestFn<Built>;
if (obstacle === undefined) {
  (anyTest as TestFn<Built>).before(async (t) => {
    t.timeout(10 * MINUTES);
    t.context.built = await BuiltImage.build();
  });
  (anyTest as TestFn<Built>).after.always((t) => t.context.built?.remove());
}

test('the image holds the package and Node, and nothing of who built it', async (t) => {
  const { root, config } = t.context.built!;
  const modules = await readdir(join(root, 'opt', 'entrepot', 'node_modules'));
  t.true(modules.includes('entrepot'));
  t.deepEqual(
    modules.filter((name) => name.startsWith('node-') && name !== 'node-gyp-build'),
    [],
  );
  const compiled = join(root, 'opt/entrepot/node_modules/classic-level/prebuilds');
  t.deepEqual(await readdir(compiled), [`linux-${process.arch}`]);
  t.deepEqual(await readdir(join(root, 'src')).catch(() => []), []);
  t.deepEqual(
    await readdir(join(root, 'root')).then((names) => names.filter((name) => /npm/.test(name))),
    [],
  );
  t.is(config.user, '65532:65532');
  t.deepEqual(config.command, ['entrepot', 'serve']);
});

test('read-only, as its user, an image is pulled through it', async (t) => {
  const built = t.context.built!;
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 'image', layers: [100_000] });
  registry.addImage('library/app', 'v1', image);
  const [folder, store] = [await createTempFolder(t), await createTempFolder(t)];
  await chown(store, 0, 0);
  const walls = built.walls(store, join(folder, 'entrepot.yaml'));
  const mirror = await MirrorProcess.start(
    t,
    folder,
    {
      store: { path: '/var/lib/entrepot' },
      upstreams: { 'docker.io': { url: registry.url } },
    },
    { program: [...walls, 'sh', '-c', 'exec entrepot serve', 'sh'] },
  );
  const app = `${mirror.url}/v2/library/app`;
  t.true((await get(`${app}/manifests/v1`)).body.equals(image.manifest.bytes));
  for (const { digest, bytes } of image.blobs) {
    t.true((await get(`${app}/blobs/${digest}`)).body.equals(bytes));
  }
  t.true((await readdir(store)).includes('blobs'));
});

for (const [network, config] of [
  ['IPv4 and IPv6', undefined],
  [
    'IPv6 alone',
    "listen: '[::]:5000'\nadmin: '[::1]:5001'\nmetrics: { listen: '[::]:9101' }\nstore: { path: /var/lib/entrepot }\n",
  ],
] as const) {
  test(`with ${network}: what the image starts answers, and its health check tells a server from none`, async (t) => {
    const built = t.context.built!;
    const store = await createTempFolder(t);
    const walls = built
      .walls(store)
      .map((word) => `'${word}'`)
      .join(' ');
    const folder = await createTempFolder(t);
    const check = built.config.healthCheck.join(' ');
    const own = config === undefined ? '' : `printf '%s' "$CONFIG" > '${folder}/entrepot.yaml'`;
    const mounted =
      config === undefined ? '' : `--ro-bind '${folder}/entrepot.yaml' /etc/entrepot/entrepot.yaml`;
    const script = `
      ip link set lo up
      ${config === undefined ? '' : 'ip -4 address flush dev lo'}
      ${own}
      in_image() { ${walls} ${mounted} "$@"; }
      in_image ${check} >/dev/null 2>&1 && { echo 'content without a server'; exit 1; }
      in_image ${built.config.command.join(' ')} > '${folder}/log' 2>&1 &
      for _ in $(seq 100); do
        in_image ${check} > '${folder}/health' 2>&1 && { echo healthy; break; }
        sleep 0.2
      done
      cat '${folder}/health' '${folder}/log'
      in_image node -e "
        const told = ['http://[::1]:5000/v2/', 'http://[::1]:9101/readyz'].map(async (url) => (await fetch(url)).status);
        Promise.all(told).then((statuses) => console.log('statuses', ...statuses));"
      kill %1; wait %1; echo "ended with $?"`;
    const { stdout, stderr } = spawnSync(
      'unshare',
      ['--net', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-c', script],
      {
        encoding: 'utf8',
        env: { ...process.env, CONFIG: config ?? '' },
        timeout: 2 * MINUTES,
      },
    );
    t.regex(stdout, /^healthy$/m, stdout + stderr);
    t.regex(stdout, /statuses 200 200/, stdout + stderr);
    t.notRegex(stdout, /content without a server/);
  });
}

test('the compose file starts the image as it is tried here', async (t) => {
  const { services } = parse(await readFile(join(DEPLOY, 'compose.yaml'), 'utf8')) as {
    services: { mirror: Record<string, unknown> };
  };
  const { image, read_only: isReadOnly, cap_drop: dropped } = services.mirror;
  t.deepEqual(
    { image, isReadOnly, dropped },
    { image: `entrepot:${packageJson.version}`, isReadOnly: true, dropped: ['ALL'] },
  );
  const config = parse(await readFile(join(DEPLOY, 'image', 'entrepot.yaml'), 'utf8')) as {
    grace: string;
  };
  const seconds = Number.parseFloat(String(services.mirror['stop_grace_period']));
  t.true(seconds >= Number.parseFloat(config.grace) + 10);
});
