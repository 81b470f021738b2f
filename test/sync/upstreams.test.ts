import test, { type ExecutionContext } from 'ava';
import { HOUR } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { rule } from './rules.ts';
import { Site, START } from './site.ts';

const REPOSITORY = 'library/app';
const GOOD = `${UPSTREAM}/${REPOSITORY}:v1`;
const SLOW = `slow.local/${REPOSITORY}`;
const IMAGE = buildImage({ seed: 'good', layers: [3000] });
const SLOW_IMAGES = ['v1', 'v2', 'v3'].map((tag) => ({
  tag,
  image: buildImage({ seed: tag, layers: [3000] }),
}));

const RULES = [
  rule('', { image: SLOW, tags: { names: SLOW_IMAGES.map(({ tag }) => tag) }, priority: 9 }),
  rule(REPOSITORY, { tags: { names: ['v1'] } }),
];

/** A site with two places, and a slow upstream whose rule comes first and has more images. */
async function startSite(t: ExecutionContext): Promise<{ site: Site; slow: FakeRegistry }> {
  const slow = await FakeRegistry.start(t);
  for (const { tag, image } of SLOW_IMAGES) slow.addImage(REPOSITORY, tag, image);
  const site = await Site.start(t, {
    rules: RULES,
    others: { 'slow.local': { url: slow.url } },
  });
  site.registry.addImage(REPOSITORY, 'v1', IMAGE);
  return { site, slow };
}

async function ready(site: Site, image: string): Promise<unknown> {
  return until(`${image} is there`, async () => {
    const { state, lacksTag } = (await site.sync.explain(image)) ?? {};
    return state === 'ready' && !lacksTag;
  });
}

test('an upstream that does not say what a tag means keeps no image of another one waiting', async (t) => {
  const { site, slow } = await startSite(t);
  const gate = slow.hold('v2', { before: 'headers' });
  site.sync.run();
  await gate.arrived();
  await ready(site, GOOD);
  t.truthy(site.sync.runState.running);
  // What is not resolved yet is an open question meanwhile, and no failure.
  const { unresolved } = await site.sync.status();
  t.deepEqual(unresolved, [
    { rule: 'sync.rules[0]', image: SLOW, reason: 'no run has resolved it yet' },
  ]);
  gate.open();
  const { isOk, images } = await site.ended();
  t.deepEqual([isOk, images], [true, { fetched: 4, kept: 0, failed: 0 }]);
  t.deepEqual((await site.sync.status()).counts, { ready: 4, partial: 0, stale: 0, unresolved: 0 });
  t.deepEqual(
    site.asked(),
    [
      `GET /v2/library/app/blobs/${IMAGE.config.digest}`,
      `GET /v2/library/app/blobs/${IMAGE.layer(0).digest}`,
      `GET /v2/library/app/manifests/${IMAGE.manifest.digest}`,
      'HEAD /v2/library/app/manifests/v1',
    ].toSorted(),
  );
});

test('an upstream whose blobs do not come to an end takes no place of another one', async (t) => {
  const { site, slow } = await startSite(t);
  const gates = SLOW_IMAGES.map(({ image }) => slow.hold(image.layer(0), { after: 1000 }));
  site.sync.run();
  await Promise.race(gates.map(async (gate) => gate.arrived()));
  await ready(site, GOOD);
  const { running } = site.sync.runState;
  t.deepEqual(running?.images, { done: 1, failed: 0, total: 4 });
  for (const gate of gates) gate.open();
  const { isOk, images } = await site.ended();
  t.deepEqual([isOk, images], [true, { fetched: 4, kept: 0, failed: 0 }]);
});

test('stopped while one upstream is planned and another one fetched it closes in order', async (t) => {
  const { site, slow } = await startSite(t);
  const gates = [
    slow.hold('v1', { before: 'headers' }),
    site.registry.hold(IMAGE.layer(0), { after: 1000 }),
  ];
  site.sync.run();
  for (const gate of gates) await gate.arrived();
  await site.close();
  t.is(site.sync.runState.last?.aborted, 'the server is stopping');
  for (const gate of gates) gate.open();
});

test('a blob that does not come to an end holds up no scheduled run of another upstream', async (t) => {
  const { site, slow } = await startSite(t);
  const { registry, timer, sync } = site;
  const gates = SLOW_IMAGES.map(({ image }) => slow.hold(image.layer(0), { after: 1000 }));
  sync.start();
  await Promise.race(gates.map(async (gate) => gate.arrived()));
  await ready(site, GOOD);
  t.is(sync.runState.running?.startedAt, START);
  const next = buildImage({ seed: 'next', layers: [10] });
  registry.addImage(REPOSITORY, 'v1', next);
  site.asked();
  // The run of the other upstream is due, and begins.
  await timer.waited();
  await timer.advance(HOUR / 2);
  await until('the new image is there', async () => {
    const { digest, state, lacksTag } = (await sync.explain(GOOD)) ?? {};
    return digest === next.manifest.digest && state === 'ready' && !lacksTag;
  });
  const { last, running } = sync.runState;
  t.deepEqual([last?.startedAt, last?.isOk], [START, false]);
  t.deepEqual(last?.failures, [
    {
      rule: 'sync.rules[0]',
      image: SLOW,
      reason: 'still being fetched when the next run was due, which goes on with it',
    },
  ]);
  t.deepEqual(last?.released, []);
  t.is(running?.startedAt, START + HOUR / 2);
  t.deepEqual(running?.images, { done: 1, failed: 0, total: 4 });
  t.deepEqual(
    site.asked(),
    [
      `GET /v2/library/app/blobs/${next.config.digest}`,
      `GET /v2/library/app/blobs/${next.layer(0).digest}`,
      `GET /v2/library/app/manifests/${next.manifest.digest}`,
      'HEAD /v2/library/app/manifests/v1',
    ].toSorted(),
  );
  for (const gate of gates) gate.open();
  const report = await until('the second run ends', () => {
    const { runState } = sync;
    return !runState.running && runState.last?.isOk && runState.last;
  });
  t.deepEqual(
    [report.startedAt, report.images],
    [START + HOUR / 2, { fetched: 4, kept: 0, failed: 0 }],
  );
  // Each of its tags was asked for once, in the first run.
  t.is(slow.conversation().filter((line) => line.startsWith('HEAD')).length, 3);
  t.is((await sync.status()).counts.ready, 5);
});

test('what outlasts its run is gone on with after a restart, at once', async (t) => {
  const { site, slow } = await startSite(t);
  const gates = SLOW_IMAGES.map(({ image }) => slow.hold(image.layer(0), { after: 1000 }));
  site.sync.start();
  await Promise.race(gates.map(async (gate) => gate.arrived()));
  await ready(site, GOOD);
  await site.timer.waited();
  await site.timer.advance(HOUR / 2);
  await until('the first run ends', () => site.sync.runState.last);
  await site.close();
  for (const gate of gates) gate.open();
  const { registry, storePath, timer } = site;
  const next = await Site.start(t, {
    registry,
    storePath,
    timer,
    rules: RULES,
    others: { 'slow.local': { url: slow.url } },
  });
  next.sync.start();
  await until('all is there', async () => (await next.sync.status()).counts.ready === 4);
  t.is((await next.ended()).startedAt, timer.now());
});
