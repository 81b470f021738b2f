import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stat } from 'node:fs/promises';
import test from 'ava';
import type { SyncRunState } from '../../src/api/sync-api.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import { get } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { partialPath, startMirror } from '../helpers/mirror.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { rule, syncConfig } from './rules.ts';
import { Site, START } from './site.ts';

const REPOSITORY = 'library/app';
const MIB = 1024 * 1024;
const RULES = [rule(REPOSITORY, { tags: { names: ['v1'] } })];

test('a run that is asked for while one runs is that one', async (t) => {
  const site = await Site.start(t, { rules: RULES });
  const image = buildImage({ seed: 1, layers: [3000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  const gate = site.registry.hold(image.layer(0), { after: 1000 });
  t.is(site.sync.run().running?.phase, 'planning');
  await gate.arrived();
  const { running } = site.sync.run();
  t.deepEqual(running?.images, { done: 0, failed: 0, total: 1 });
  t.deepEqual([running?.phase, running?.startedAt], ['fetching', START]);
  gate.open();
  t.true((await site.ended()).isOk);
  t.deepEqual(
    site.asked(),
    [
      `GET /v2/library/app/blobs/${image.config.digest}`,
      `GET /v2/library/app/blobs/${image.layer(0).digest}`,
      `GET /v2/library/app/manifests/${image.manifest.digest}`,
      'HEAD /v2/library/app/manifests/v1',
    ].toSorted(),
  );
});

test('stopped in the middle it closes in order, and goes on at the next start', async (t) => {
  const site = await Site.start(t, { rules: RULES });
  const { registry, storePath, timer } = site;
  const image = buildImage({ seed: 1, layers: [2 * MIB, 2 * MIB] });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
  const gate = registry.hold(image.layer(0), { after: MIB });
  site.sync.start();
  await gate.arrived();
  // What is on its way to the mirror comes to its file.
  const partial = partialPath(storePath, image.layer(0).digest, UPSTREAM);
  await until('the first half is there', async () => (await stat(partial)).size === MIB);
  await site.close();
  t.like(site.sync.runState, { last: { isOk: false, aborted: 'the server is stopping' } });
  gate.open();
  registry.clear();

  const next = await Site.start(t, { rules: RULES, registry, storePath, timer });
  next.sync.start();
  await registry.seen(image.layer(1));
  t.true((await next.ended()).isOk);
  const layers = next.asked().filter((line) => line.includes('layer0'));
  t.deepEqual(layers, [`GET /v2/library/app/blobs/<app.layer0> bytes=${MIB}-`]);
  t.deepEqual((await next.sync.status()).counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
});

test('stopped while it waits for an upstream to recover', async (t) => {
  const site = await Site.start(t, { rules: RULES });
  site.registry.status('v1', 503, { times: Infinity });
  site.sync.start();
  await site.waiting();
  await site.close();
  t.is(site.timer.waiting, 0);
  t.is(site.sync.runState.last?.aborted, 'the server is stopping');
});

test('stopped under a cap that lets almost nothing through', async (t) => {
  const site = await Site.start(t, { rules: RULES, bytesPerSecond: 1 });
  const image = buildImage({ seed: 1, layers: [3000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  site.sync.start();
  await site.registry.seen(image.config);
  await site.close();
  t.is(site.sync.runState.last?.aborted, 'the server is stopping');
});

test('stopped while no window is open', async (t) => {
  const windows = [{ opens: '0 22 * * *', forMs: HOUR }];
  const site = await Site.start(t, { rules: RULES, windows });
  site.registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [3000] }));
  site.sync.start();
  await site.waiting();
  await site.close();
  t.is(site.timer.waiting, 0);
  t.is(site.sync.runState.last?.aborted, 'the server is stopping');
});

test('by schedule: at the first start, at its times, and once for what it missed', async (t) => {
  const site = await Site.start(t, { rules: RULES });
  const { registry, storePath, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [10] }));
  const starts: (number | undefined)[] = [];
  const ended = async (each: Site, startedAt: number): Promise<void> => {
    const { last } = await until('the run ends', () => {
      const { runState } = each.sync;
      return !runState.running && runState.last?.startedAt === startedAt && runState;
    });
    starts.push(last?.startedAt);
    await timer.waited();
  };
  site.sync.start();
  await ended(site, START);
  t.is((await site.sync.status()).nextRunAt, START + HOUR / 2);
  await timer.advance(HOUR / 2);
  await ended(site, START + HOUR / 2);
  await site.close();
  await timer.advance(3 * HOUR + 1);
  const next = await Site.start(t, { rules: RULES, registry, storePath, timer });
  next.sync.start();
  await ended(next, START + 3.5 * HOUR + 1);
  t.is((await next.sync.status()).nextRunAt, START + 4.5 * HOUR);
  t.is(starts.length, 3);
  await next.close();

  // Other rules are looked at when they come into force.
  const changed = [rule(REPOSITORY, { tags: { names: ['v1', 'v2'] } })];
  await timer.advance(1000);
  const other = await Site.start(t, { rules: changed, registry, storePath, timer });
  other.sync.start();
  await ended(other, timer.now());
});

test('a run that misses an upstream is made again after a minute, then after two, until the next is due', async (t) => {
  const MINUTE = HOUR / 60;
  // Due again six minutes later.
  const site = await Site.start(t, { rules: RULES, schedule: '36 * * * *' });
  const { registry, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [3000] }));
  await registry.refuse();
  site.sync.start();
  const ends: number[] = [];
  for (const pause of [1, 2]) {
    await site.ended();
    await site.waiting();
    t.is((await site.sync.status()).nextRunAt, timer.now() + pause * MINUTE);
    ends.push(timer.now() - START);
    await timer.advance(pause * MINUTE);
  }
  await site.ended();
  await site.waiting();
  // Four minutes more would be after it.
  t.is((await site.sync.status()).nextRunAt, START + 6 * MINUTE);
  t.deepEqual(ends, [0, MINUTE]);
  await registry.accept();
  await timer.advance(3 * MINUTE);
  t.true((await site.ended()).isOk);
  await site.waiting();
  t.is((await site.sync.status()).nextRunAt, START + 66 * MINUTE);
});

test('a run that missed an upstream is made again after a restart as before it', async (t) => {
  const MINUTE = HOUR / 60;
  const options = { rules: RULES, schedule: '36 * * * *' };
  const site = await Site.start(t, options);
  const { registry, storePath, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [3000] }));
  await registry.refuse();
  site.sync.start();
  await site.ended();
  await site.waiting();
  await timer.advance(MINUTE);
  await site.ended();
  await site.waiting();
  await site.close();
  await timer.advance(MINUTE / 2);
  // The second pause, of two minutes, goes on in the next process.
  const next = await Site.start(t, { ...options, registry, storePath, timer });
  next.sync.start();
  await next.waiting();
  t.is((await next.sync.status()).nextRunAt, START + 3 * MINUTE);
  await registry.accept();
  await timer.advance(1.5 * MINUTE);
  const last = await until('the run is made', () => {
    const { runState } = next.sync;
    return !runState.running && runState.last?.isOk && runState.last;
  });
  t.is(last.startedAt, START + 3 * MINUTE);
  await next.waiting();
  t.is((await next.sync.status()).nextRunAt, START + 6 * MINUTE);
});

test('what a missed run left for a process that was down for long is made at once', async (t) => {
  const site = await Site.start(t, { rules: RULES, schedule: '0 0 * * *' });
  const { registry, storePath, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [3000] }));
  await registry.refuse();
  await site.run();
  await site.close();
  await registry.accept();
  await timer.advance(5 * HOUR);
  const next = await Site.start(t, {
    rules: RULES,
    schedule: '0 0 * * *',
    registry,
    storePath,
    timer,
  });
  next.sync.start();
  const last = await until('the run is made', () => {
    const { runState } = next.sync;
    return !runState.running && runState.last?.isOk && runState.last;
  });
  t.is(last.startedAt, timer.now());
});

test('outside of its windows it plans and waits, and goes on when one opens', async (t) => {
  const site = await Site.start(t, {
    rules: RULES,
    windows: [{ opens: '0 2 * * *', forMs: HOUR }],
  });
  const image = buildImage({ seed: 1, layers: [3000] });
  site.registry.addImage(REPOSITORY, 'v1', image);
  site.sync.run();
  await site.waiting();
  const opens = Date.UTC(2030, 0, 1, 2);
  const { running } = site.sync.runState;
  t.deepEqual([running?.phase, running?.until], ['waiting', opens]);
  t.is((await site.sync.status()).closedUntil, opens);
  t.deepEqual(
    site.asked().filter((line) => line.includes('/blobs/')),
    [],
  );
  await site.timer.advance(opens - START);
  t.true((await site.ended()).isOk);
});

test('offline, plan and run are refused at once, nothing changes, and what is held is ready', async (t) => {
  const site = await Site.start(t, { rules: RULES });
  const { registry, storePath, timer } = site;
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 1, layers: [10] }));
  await site.run();
  await site.close();
  const { connections } = registry;
  const state = await readFile(join(storePath, 'sync.json'));
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: registry.url } },
    sync: syncConfig(RULES),
    storePath,
    offline: true,
    clock: timer,
  });
  const { adminUrl } = mirror.server;
  const admin = new URL(adminUrl).host;
  const read = async (path: string): Promise<object> =>
    JSON.parse((await get(`${adminUrl}${path}`)).body.toString()) as object;
  const pins = await read('/api/v1/pins');
  const error =
    'this mirror is set offline and asks no upstream; "entrepot sync status" tells what is ready';
  for (const command of ['plan', 'run']) {
    const asked = await fetch(`${adminUrl}/api/v1/sync/${command}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
    });
    t.deepEqual([asked.status, await asked.json()], [409, { error }]);
    t.deepEqual(await runStoreCommand(t, ['sync', command], { admin }), {
      code: 1,
      stdout: '',
      stderr: `entrepot: ${error}\n`,
    });
  }
  t.deepEqual(await readFile(join(storePath, 'sync.json')), state);
  t.deepEqual(await read('/api/v1/pins'), pins);
  t.like(await read('/api/v1/sync'), {
    counts: { ready: 1, partial: 0, stale: 0, unresolved: 0 },
    run: { last: { isOk: true } },
  });
  t.is(registry.connections, connections);
});

test('a pull of what sync fetches slowly has it at full speed', async (t) => {
  const site = await Site.start(t, { rules: RULES, bytesPerSecond: 1 });
  const image = buildImage({ seed: 1, layers: [3 * MIB] });
  site.registry.addImage(REPOSITORY, 'v1', image, { name: 'app' });
  site.sync.run();
  await site.registry.seen(image.config);
  // At this pace the config alone would take minutes; a pull is through with both.
  t.is((await site.blob(REPOSITORY, image.config.digest)).status, 200);
  await site.registry.seen(image.layer(0));
  t.true((await site.blob(REPOSITORY, image.layer(0).digest)).body.equals(image.layer(0).bytes));
  t.true((await site.ended()).isOk);
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<app.config>',
    'GET /v2/library/app/blobs/<app.layer0>',
    'GET /v2/library/app/manifests/<app>',
    'HEAD /v2/library/app/manifests/v1',
  ]);
});

test('in the server: the admin API runs and tells it, and `work` starts it', async (t) => {
  const registry = await FakeRegistry.start(t);
  const image = buildImage({ seed: 1, layers: [3000] });
  registry.addImage(REPOSITORY, 'v1', image);
  const mirror = await startMirror(t, {
    upstreams: { [UPSTREAM]: { url: registry.url } },
    sync: syncConfig(RULES),
  });
  const { adminUrl } = mirror.server;
  const read = async (path: string): Promise<unknown> =>
    JSON.parse((await get(`${adminUrl}${path}`)).body.toString());
  await until('the run ends', async () => {
    const { running, last } = (await read('/api/v1/sync/run')) as SyncRunState;
    return last && !running;
  });
  t.like(await read('/api/v1/sync'), {
    rules: 1,
    counts: { ready: 1, partial: 0, stale: 0, unresolved: 0 },
    images: [{ image: `${UPSTREAM}/${REPOSITORY}`, tag: 'v1', state: 'ready' }],
  });
  t.like(await read(`/api/v1/explain?image=${UPSTREAM}/${REPOSITORY}:v1`), {
    sync: { state: 'ready', rule: 'sync.rules[0]' },
  });
});
