import test from 'ava';
import { buildImage, type Image } from '../helpers/image.ts';
import { rule } from './rules.ts';
import { Site } from './site.ts';

const REPOSITORY = 'library/app';
const MIB = 1024 ** 2;
const named = (...names: string[]) => rule(REPOSITORY, { tags: { names } });

function image(seed: string, layers: readonly number[] = [500]): Image {
  return buildImage({ seed, layers, platform: { os: 'linux', architecture: 'amd64' } });
}

test('an image is fetched while another one is still looked at', async (t) => {
  const site = await Site.start(t, { rules: [named('slow', 'fast')], concurrency: 1 });
  const { registry } = site;
  const [slow, fast] = [image('slow'), image('fast')];
  registry.addImage(REPOSITORY, 'slow', slow, { name: 'slow' });
  registry.addImage(REPOSITORY, 'fast', fast, { name: 'fast' });
  const gate = registry.hang(slow.manifest, { method: 'GET' });
  site.sync.run();
  await gate.arrived();
  await registry.seen(fast.layer(0));
  t.is(site.sync.runState.running?.phase, 'planning');
  // What a stop leaves behind is wanted, also what nobody has looked at yet.
  t.deepEqual(
    site.pins.map((pin) => pin.split('@')[1]),
    [slow, fast].map(({ manifest }) => manifest.digest).toSorted(),
  );
  gate.open();
  t.like(await site.ended(), { isOk: true, images: { fetched: 2, kept: 0, failed: 0 } });
});

test('what goes first is looked at before anything else is fetched', async (t) => {
  const site = await Site.start(t, {
    rules: [named('later'), { ...named('first'), priority: 1 }],
    concurrency: 2,
  });
  const { registry } = site;
  const [later, first] = [image('later'), image('first')];
  registry.addImage(REPOSITORY, 'later', later, { name: 'later' });
  registry.addImage(REPOSITORY, 'first', first, { name: 'first' });
  const gate = registry.hang(first.manifest, { method: 'GET' });
  site.sync.run();
  await gate.arrived();
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/manifests/<first>',
    'HEAD /v2/library/app/manifests/first',
    'HEAD /v2/library/app/manifests/later',
  ]);
  gate.open();
  t.true((await site.ended()).isOk);
});

test('small files of an image wait for no large one, and large ones for each other', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  const { registry } = site;
  const app = image('app', [2 * MIB, 2 * MIB, 1000, 2000, 3000]);
  registry.addImage(REPOSITORY, 'v1', app, { name: 'app' });
  const gate = registry.hold(app.layer(0), { after: MIB });
  site.sync.run();
  await gate.arrived();
  await Promise.all([2, 3, 4].map(async (at) => registry.seen(app.layer(at))));
  t.false(registry.conversation().includes('GET /v2/library/app/blobs/<app.layer1>'));
  gate.open();
  t.true((await site.ended()).isOk);
});
