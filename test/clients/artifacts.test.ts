import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { countDials, NO_DIALS } from '../e2e/dials.ts';
import { suite } from '../e2e/suite.ts';
import { startWorld } from '../e2e/world.ts';
import { toolPath } from './tools.ts';

const run = suite('artefacts');

run('helm: a chart is pulled through the mirror, cold, warm and with nobody to dial', async (t) => {
  const world = await startWorld(t);
  const { netns, origin, mirror, settings } = world;
  const chart = join(netns.directory, 'shop');
  await mkdir(join(chart, 'templates'), { recursive: true });
  await writeFile(join(chart, 'Chart.yaml'), 'apiVersion: v2\nname: shop\nversion: 1.2.3\n');
  await writeFile(join(chart, 'templates', 'notes.txt'), 'a shop\n');
  const helm = async (...args: readonly string[]) => netns.run(toolPath('helm'), ...args);
  await helm('package', chart, '--destination', netns.directory);
  const packed = join(netns.directory, 'shop-1.2.3.tgz');
  await helm('push', packed, `oci://${new URL(origin.url).host}/charts`, '--plain-http');

  const pull = async (name: string): Promise<Buffer> => {
    const to = join(netns.directory, name);
    await mkdir(to);
    const image = `oci://${new URL(mirror.url).host}/docker.io/charts/shop`;
    await helm('pull', image, '--version', '1.2.3', '--plain-http', '--destination', to);
    return readFile(join(to, 'shop-1.2.3.tgz'));
  };
  const bytes = await readFile(packed);
  t.deepEqual(await pull('cold'), bytes);
  t.deepEqual(await pull('warm'), bytes);
  await mirror.restart({ ...settings, offline: true }, 'SIGTERM');
  const dials = await countDials(world, async () => {
    t.deepEqual(await pull('offline'), bytes);
  });
  t.deepEqual(dials, NO_DIALS);
});

for (const [form, ...flags] of [
  ['a bundle beside the image', '--new-bundle-format=true'],
  ['a tag of cosign', '--new-bundle-format=false'],
] as const) {
  run(`cosign: a signature as ${form} is verified through the mirror`, async (t) => {
    const world = await startWorld(t);
    const { netns, origin, mirror, settings, images } = world;
    const { repository, reference } = images.oci.byDigest;
    const key = join(netns.directory, 'release');
    const cosign = async (...args: readonly string[]) =>
      netns.run('env', 'COSIGN_PASSWORD=', toolPath('cosign'), ...args);
    await cosign('generate-key-pair', '--output-key-prefix', key);
    const signed = `${new URL(origin.url).host}/${repository}@${reference}`;
    const offline = ['--use-signing-config=false', '--tlog-upload=false'];
    await cosign('sign', '--yes', '--key', `${key}.key`, ...flags, ...offline, signed);

    const verify = async (publicKey: string): Promise<string> => {
      const image = `${new URL(mirror.url).host}/docker.io/${repository}@${reference}`;
      const options = ['--insecure-ignore-tlog=true', ...flags, '--key', publicKey];
      return cosign('verify', ...options, image);
    };
    t.regex(await verify(`${key}.pub`), new RegExp(reference));
    await cosign('generate-key-pair', '--output-key-prefix', `${key}-other`);
    await t.throwsAsync(verify(`${key}-other.pub`));
    await mirror.restart({ ...settings, offline: true }, 'SIGTERM');
    const dials = await countDials(world, async () => {
      t.regex(await verify(`${key}.pub`), new RegExp(reference));
    });
    t.deepEqual(dials, NO_DIALS);
  });
}
