import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Engine } from '../../src/engine.ts';
import { Listener } from '../../src/http/listener.ts';
import type { Pace } from '../../src/mirror/download.ts';
import { PRIORITY, type HoldOptions } from '../../src/mirror/downloads.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { get, open, type OpenResponse } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { createConfig, createTempFolder, TEST_TIMING } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;
const UPSTREAM = 'hub.example';
const REPOSITORY = 'library/app';
const TARGET = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };

/** A registry, the engine in front of it, and what a client and a sync run ask of it. */
async function startBench(t: ExecutionContext, concurrency: number) {
  const registry = await FakeRegistry.start(t);
  const log = pino({ level: 'silent' });
  const config = createConfig(await createTempFolder(t), {
    upstreams: { [UPSTREAM]: { url: registry.url, concurrency } },
  });
  const engine = await Engine.start(config, { log, timing: TEST_TIMING });
  const listener = await Listener.open(config.listen, engine.createApp().callback(), log);
  t.teardown(async () => {
    await listener.close(0);
    await engine.close();
  });
  const address = ({ digest }: Stored): string =>
    `${listener.url}/v2/${REPOSITORY}/blobs/${digest}`;
  return {
    registry,
    engine,
    /** Blobs of so many MiB: larger than those that wait for no turn. */
    blob: (name: string, size = 2): Stored =>
      registry.addBlob(REPOSITORY, buildBlob(name, size * MIB), { name }),
    hold: async (blob: Stored, options: HoldOptions): Promise<boolean> =>
      engine.mirror.downloads.hold(TARGET, parseDigest(blob.digest), options),
    pull: async (blob: Stored): Promise<boolean> =>
      (await get(address(blob))).body.equals(blob.bytes),
    openPull: async (blob: Stored): Promise<OpenResponse> => open(address(blob)),
    isHeld: async ({ digest }: Stored): Promise<boolean> =>
      (await engine.store.catalog.findBlob(parseDigest(digest))) !== undefined,
  };
}

/** A pace that lets nothing on until its gate opens, or the download is in a hurry. */
function createPace() {
  const gate = new Gate();
  const asked: number[] = [];
  const pace: Pace = async (bytes, signal) => {
    asked.push(bytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => resolve());
    await gate.pass(promise);
  };
  return { gate, pace, asked };
}

const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0);

test('a pace is asked about every byte of a download that sync began', async (t) => {
  const { registry, blob, hold, isHeld } = await startBench(t, 2);
  const { gate, pace, asked } = createPace();
  const [large, small] = [blob('large', 3), registry.addBlob(REPOSITORY, buildBlob('small', 500))];
  const holding = hold(large, { priority: PRIORITY.sync, pace });
  await gate.arrived();
  t.false(await isHeld(large));
  gate.open();
  t.true(await holding);
  t.is(sum(asked), 3 * MIB);
  t.true(await hold(small, { priority: PRIORITY.sync, pace }));
  t.is(sum(asked), 3 * MIB + 500);
});

test('a pull that joins a slowed download gets it at full speed, by the same transfer', async (t) => {
  const { registry, blob, hold, pull } = await startBench(t, 2);
  const { gate, pace, asked } = createPace();
  const layer = blob('layer', 3);
  const holding = hold(layer, { priority: PRIORITY.sync, pace });
  await gate.arrived();
  t.true(await pull(layer));
  t.true(await holding);
  t.is(asked.length, 1);
  t.false(gate.isOpen);
  t.deepEqual(registry.conversation(), ['GET /v2/library/app/blobs/<layer>']);
});

test('a pull that joins before the upstream has answered is not slowed at all', async (t) => {
  const { registry, blob, hold, pull } = await startBench(t, 2);
  const { pace, asked } = createPace();
  const layer = blob('layer');
  const headers = registry.hold(layer, { before: 'headers' });
  const holding = hold(layer, { priority: PRIORITY.sync, pace });
  await headers.arrived();
  const pulling = pull(layer);
  await registry.engineJoined?.();
  headers.open();
  t.deepEqual(await Promise.all([pulling, holding]), [true, true]);
  t.deepEqual(asked, []);
});

test('a hydration that joins is not slowed either', async (t) => {
  const { blob, hold } = await startBench(t, 2);
  const { gate, pace, asked } = createPace();
  const layer = blob('layer');
  const syncing = hold(layer, { priority: PRIORITY.sync, pace });
  await gate.arrived();
  t.true(await hold(layer, { priority: PRIORITY.hydration }));
  t.true(await syncing);
  t.is(asked.length, 1);
});

test('a more urgent sync that joins keeps to the pace', async (t) => {
  const { blob, hold } = await startBench(t, 2);
  const { gate, pace, asked } = createPace();
  const other = createPace();
  const layer = blob('layer');
  const first = hold(layer, { priority: PRIORITY.sync, pace });
  await gate.arrived();
  const second = hold(layer, { priority: PRIORITY.sync + 5, pace: other.pace });
  t.is(gate.waiting, 1);
  gate.open();
  t.deepEqual(await Promise.all([first, second]), [true, true]);
  t.is(sum(asked), 2 * MIB);
  t.deepEqual(other.asked, []);
});

test('a sync that joins a pull does not slow it', async (t) => {
  const { registry, blob, hold, openPull } = await startBench(t, 2);
  const { pace, asked } = createPace();
  const layer = blob('layer');
  const body = registry.hold(layer, { after: 1000 });
  const response = await openPull(layer);
  const holding = hold(layer, { priority: PRIORITY.sync, pace });
  await body.arrived();
  body.open();
  t.true((await response.rest()).equals(layer.bytes));
  t.true(await holding);
  t.deepEqual(asked, []);
});

test('sync leaves one place to the pulls', async (t) => {
  const { blob, hold, pull, isHeld } = await startBench(t, 3);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(createPaceOf) as [Paced, Paced, Paced, Paced];
  const holdings = [a, b, c, d].map(async ({ name, pace }) =>
    hold(blob(name), { priority: PRIORITY.sync, pace }),
  );
  await Promise.all([a.gate.arrived(), b.gate.arrived()]);
  const pulled = blob('pulled');
  t.true(await pull(pulled));
  t.true(await pull(blob('pulled next')));
  t.deepEqual(
    [a, b, c, d].map(({ asked }) => asked.length),
    [1, 1, 0, 0],
  );
  a.gate.open();
  await c.gate.arrived();
  t.is(d.asked.length, 0);
  for (const { gate } of [b, c, d]) gate.open();
  t.deepEqual(await Promise.all(holdings), [true, true, true, true]);
  t.true(await isHeld(pulled));
});

test('where there is one place sync may have it, and urgent rules go first', async (t) => {
  const { blob, hold } = await startBench(t, 1);
  const [a, b, c] = ['a', 'b', 'c'].map(createPaceOf) as [Paced, Paced, Paced];
  const first = hold(blob('a'), { priority: PRIORITY.sync, pace: a.pace });
  await a.gate.arrived();
  const second = hold(blob('b'), { priority: PRIORITY.sync, pace: b.pace });
  const third = hold(blob('c'), { priority: PRIORITY.sync + 1, pace: c.pace });
  await waitForTurns(t, 3);
  a.gate.open();
  await c.gate.arrived();
  t.is(b.asked.length, 0);
  c.gate.open();
  b.gate.open();
  t.deepEqual(await Promise.all([first, second, third]), [true, true, true]);
});
