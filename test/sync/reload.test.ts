import test from 'ava';
import { HOUR } from '../helpers/clock.ts';
import { buildImage } from '../helpers/image.ts';
import { rule, syncConfig } from './rules.ts';
import { Site } from './site.ts';

const ONLINE = { isOffline: false };

/** Three repositories of the registry, each with an image. */
async function start(
  t: Parameters<typeof Site.start>[0],
  options: Parameters<typeof Site.start>[1],
) {
  const site = await Site.start(t, options);
  const images = ['first', 'second', 'third'].map((name) => {
    const image = buildImage({ seed: name, layers: [3000] });
    site.registry.addImage(`team/${name}`, 'v1', image, { name });
    return image;
  });
  return { site, images };
}

function rulesOf(name: string, more: Parameters<typeof rule>[1] = {}) {
  return [rule(`team/${name}`, { tags: { names: ['v1'] }, ...more })];
}

test('a run under way ends by its rules, and the next one goes by those of the last reload', async (t) => {
  const { site, images } = await start(t, { rules: rulesOf('first') });
  const { registry, sync } = site;
  const gate = registry.hold(images[0]!.layer(0), { after: 10 });
  sync.start();
  await gate.arrived();
  for (const name of ['second', 'third']) {
    sync.configure(syncConfig(rulesOf(name)), ONLINE);
    sync.start();
    t.truthy(sync.runState.running, 'what runs is told');
  }
  gate.open();
  await site.waiting();
  const { images: ready } = await sync.status();
  t.deepEqual(
    ready.map(({ image, state }) => [image.replace(/^.*team/, 'team'), state]),
    [['team/third', 'ready']],
  );
  const asked = registry.conversation().join('\n');
  t.true(asked.includes('<first.layer0>'));
  t.false(asked.includes('team/second'), 'rules that were replaced before a run began');
});

test('a run that waits for a window makes way for other rules at once', async (t) => {
  const windows = [{ opens: '0 22 * * *', forMs: HOUR }];
  const { site } = await start(t, { rules: rulesOf('first'), windows });
  const { registry, sync } = site;
  sync.start();
  await site.waiting();
  registry.clear();
  sync.configure(syncConfig(rulesOf('second')), ONLINE);
  sync.start();
  await site.ended();
  t.true(registry.conversation().join('\n').includes('<second.layer0>'));
  t.deepEqual(
    (await sync.status()).images.map(({ state }) => state),
    ['ready'],
  );
});

test('a run begins nothing more when nothing may be fetched any more', async (t) => {
  const rules = [...rulesOf('first', { priority: 1 }), ...rulesOf('second')];
  const { site, images } = await start(t, { rules, concurrency: 1 });
  const { registry, sync } = site;
  const gate = registry.hold(images[0]!.layer(0), { after: 10 });
  sync.start();
  await gate.arrived();
  sync.configure(syncConfig(rules), { isOffline: true });
  gate.open();
  await site.ended();
  t.is(sync.runState.last?.isOk, false);
  t.false(registry.conversation().join('\n').includes('<second.layer0>'));
  t.throws(() => sync.run(), { message: /offline/ });
});
