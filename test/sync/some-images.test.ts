import test from 'ava';
import { buildImage, type Image } from '../helpers/image.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { until } from '../helpers/until.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site, type SiteOptions } from './site.ts';
import type { ExecutionContext } from 'ava';
import type { SyncReport } from '../../src/api/sync-api.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;
const named = (...names: string[]) => rule(REPOSITORY, { tags: { names } });
const image = (seed: string): Image => buildImage({ seed, layers: [500] });

async function start(t: ExecutionContext, options: SiteOptions): Promise<Site> {
  const site = await Site.start(t, options);
  for (const tag of ['v1', 'v2', 'v3']) add(site.registry, tag);
  return site;
}

function add(registry: FakeRegistry, tag: string, seed = tag): Image {
  const added = image(seed);
  registry.addImage(REPOSITORY, tag, added, { name: seed });
  return added;
}

async function runSome(site: Site, images: readonly string[], lock?: unknown): Promise<SyncReport> {
  site.sync.runSome(images, lock);
  await until('the run has ended', () => site.sync.runState.running === undefined);
  return site.sync.someState.last!;
}

async function states(site: Site): Promise<string[]> {
  const { images } = await site.sync.status();
  return images.map(({ tag, state }) => `${tag} ${state}`);
}

test('a run of one image asks for that one alone, and the others are neither released nor missed', async (t) => {
  const site = await start(t, { rules: [named('v1', 'v2', 'v3')] });
  site.registry.untag(REPOSITORY, 'v3');
  t.false((await site.run()).isOk);
  const { unresolved } = await site.sync.status();
  t.like(unresolved, [{ image: `${APP}:v3` }]);
  const before = site.sync.runState.last;
  site.registry.untag(REPOSITORY, 'v2');
  add(site.registry, 'v1', 'new');
  site.registry.clear();
  const report = await runSome(site, [`${APP}:v1`]);
  t.like(report, { isOk: true, only: [`${APP}:v1`], images: { fetched: 1, kept: 0, failed: 0 } });
  t.deepEqual(site.asked(), [
    `GET /v2/${REPOSITORY}/blobs/<new.config>`,
    `GET /v2/${REPOSITORY}/blobs/<new.layer0>`,
    `GET /v2/${REPOSITORY}/manifests/<new>`,
    `HEAD /v2/${REPOSITORY}/manifests/v1`,
  ]);
  // Its own former digest is dealt with as its rule says.
  t.deepEqual(await states(site), ['v1 ready', 'v1 ready', 'v2 ready']);
  t.is(site.pins.length, 3);
  t.deepEqual((await site.sync.status()).unresolved, unresolved, 'what is open stays so');
  t.deepEqual(site.sync.runState.last, before, 'it counts as no run of all');
});

test('what was open and is one of them is open no more', async (t) => {
  const site = await start(t, { rules: [named('v1', 'v3')] });
  site.registry.untag(REPOSITORY, 'v3');
  await site.run();
  add(site.registry, 'v3');
  t.true((await runSome(site, [`${APP}:v3`])).isOk);
  const status = await site.sync.status();
  t.deepEqual(status.counts, { ready: 2, partial: 0, stale: 0, unresolved: 0 });
});

test('before the first run of all the rest is as unresolved as it was', async (t) => {
  const site = await start(t, { rules: [named('v1', 'v2')] });
  t.true((await runSome(site, [`${APP}:v1`])).isOk);
  const status = await site.sync.status();
  t.like(status.counts, { ready: 1, unresolved: 1 });
  t.is(status.run.last, undefined);
  t.true((await site.run()).isOk);
  t.deepEqual(await states(site), ['v1 ready', 'v2 ready']);
});

test('an image that fails is told, and one that the newest of its rule leave out', async (t) => {
  const newest = { globs: ['*'], newest: { count: 1, by: 'semver' as const } };
  const site = await start(t, {
    rules: [named('v1'), rule('library/other', { tags: newest })],
  });
  const [old, young] = [image('old'), image('young')];
  site.registry.addImage('library/other', '1.0.0', old);
  site.registry.addImage('library/other', '2.0.0', young);
  site.registry.status(image('v1').layer(0), 404, { times: Infinity });
  const other = `${UPSTREAM}/library/other`;
  const report = await runSome(site, [`${APP}:v1`, `${other}:1.0.0`, `${other}:2.0.0`]);
  t.false(report.isOk);
  t.deepEqual(report.images, { fetched: 1, kept: 0, failed: 2 });
  t.deepEqual(
    report.failures.map((failure) => [failure.image, failure.reason]),
    [
      [`${APP}:v1`, `the upstream has no ${image('v1').layer(0).digest}`],
      [`${other}:1.0.0`, 'no rule selects it now: its rule takes newer ones'],
    ],
  );
});

test('a lock is replayed for these images alone', async (t) => {
  const site = await start(t, { rules: [named('v1', 'v2')] });
  const { lock } = await site.sync.plan();
  add(site.registry, 'v1', 'moved');
  site.registry.clear();
  t.true((await runSome(site, [`${APP}:v1`], lock)).isOk);
  t.deepEqual(
    site.asked().filter((line) => !line.includes('/blobs/')),
    [],
  );
  t.deepEqual(site.pins, [`${APP}@${image('v1').manifest.digest}`]);
  const without = { ...lock, images: lock.images.filter(({ tag }) => tag === 'v2') };
  t.throws(() => site.sync.runSome([`${APP}:v1`], without), {
    message: `the lock leaves out ${APP}:v1`,
  });
});

test('what no rule selects begins nothing, and it is said what to do', async (t) => {
  const site = await start(t, { rules: [named('v1')] });
  const refused = (message: string, ...images: string[]) =>
    t.throws(() => site.sync.runSome(images), { message });
  refused(
    `no rule selects ${APP}:v2, ${UPSTREAM}/a:1; add one under "sync", or fetch it once with "entrepot warm"`,
    `${APP}:v1`,
    `${APP}:v2`,
    `${UPSTREAM}/a:1`,
  );
  refused(
    '"library/*" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST',
    'library/*',
  );
  refused('name an image at least');
  t.deepEqual(site.asked(), []);
});

test('a run of all waits for one of some, and does its own', async (t) => {
  const site = await start(t, { rules: [named('v1', 'v2')] });
  const gate = site.registry.hold(image('v1').layer(0));
  site.sync.runSome([`${APP}:v1`]);
  await gate.arrived();
  t.like(site.sync.runState.running, { only: [`${APP}:v1`] });
  site.sync.run();
  t.is(site.registry.conversation().filter((line) => line.endsWith('/v2')).length, 0);
  gate.open();
  await until('all is here', () => site.sync.runState.last !== undefined);
  t.true(site.sync.runState.last!.isOk);
  t.deepEqual(await states(site), ['v1 ready', 'v2 ready']);
});
