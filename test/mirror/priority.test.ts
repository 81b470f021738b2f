import { mock } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { startEngine } from '../../src/engine.ts';
import { Listener } from '../../src/http/listener.ts';
import { SharedDemand, type DownloadDemand, type Pace } from '../../src/mirror/downloads/demand.ts';
import { TransferQueue } from '../../src/mirror/downloads/transfer-queue.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseRepository } from '../../src/oci/reference.ts';
import { INTERACTIVE, PRIORITY } from '../../src/upstream/demand.ts';
import { get, open, type OpenResponse } from '../helpers/client.ts';
import { MINUTE } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { Gate } from '../helpers/gate.ts';
import { buildBlob, type Stored } from '../helpers/image.ts';
import { createConfig, createTempFolder, TEST_TIMING } from '../helpers/mirror.ts';
import { until } from '../helpers/until.ts';

const MIB = 1024 * 1024;
const UPSTREAM = 'hub.example';
const REPOSITORY = 'library/app';
const TARGET = { upstream: UPSTREAM, repository: parseRepository(REPOSITORY) };

/** A registry, the engine in front of it, and what a client and a sync run ask of it. */
async function startBench(
  t: ExecutionContext,
  concurrency: number,
  limits: { bytesPerSecond?: number } = {},
) {
  const registry = await FakeRegistry.start(t);
  const log = pino({ level: 'silent' });
  const config = createConfig(await createTempFolder(t), {
    upstreams: { [UPSTREAM]: { url: registry.url, concurrency, ...limits } },
  });
  const engine = await startEngine(config, {
    log,
    timing: { ...TEST_TIMING, turnMs: 10 * MINUTE },
  });
  const listener = await Listener.open(config.listen, engine.createListener(), log);
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    await listener.close(0);
    await engine.close();
  };
  t.teardown(close);
  const address = ({ digest }: Stored): string =>
    `${listener.url}/v2/${REPOSITORY}/blobs/${digest}`;
  return {
    registry,
    close,
    /** Resolves when so many downloads wait for their turn. */
    lineUp: async (count: number): Promise<void> => {
      await until('all are in line', async () => {
        const { values } = await engine.metrics.queueWaiting.get();
        return values[0]?.value === count;
      });
    },
    /** Blobs of so many MiB: larger than those that wait for no turn. */
    blob: (name: string, size = 2): Stored =>
      registry.addBlob(REPOSITORY, buildBlob(name, size * MIB), { name }),
    sync: async (blob: Stored): Promise<boolean> =>
      engine.mirror.prefetcher.holdBlob(TARGET, parseDigest(blob.digest)),
    hold: async (blob: Stored, options: DownloadDemand): Promise<boolean> =>
      engine.mirror.downloads.hold(TARGET, parseDigest(blob.digest), options),
    /** At this very moment, like a pull unless told otherwise. */
    join: async (blob: Stored, options: DownloadDemand = INTERACTIVE) =>
      engine.mirror.downloads.join(TARGET, parseDigest(blob.digest), options),
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
  const { registry, blob, hold, join } = await startBench(t, 2);
  const { pace, asked } = createPace();
  const layer = blob('layer');
  const headers = registry.hold(layer, { before: 'headers' });
  const holding = hold(layer, { priority: PRIORITY.sync, pace });
  await headers.arrived();
  const joining = join(layer);
  headers.open();
  t.true(await holding);
  const joined = await joining;
  t.true(joined !== 'again' && joined?.joined);
  t.deepEqual(asked, []);
});

test('a pull that joins before the upstream was asked is not slowed at all', async (t) => {
  const { blob, join, pull } = await startBench(t, 2);
  const { pace, asked } = createPace();
  const layer = blob('layer');
  const beginning = join(layer, { priority: PRIORITY.sync, pace });
  const joined = await join(layer);
  t.true(joined !== 'again' && joined?.joined);
  await beginning;
  t.true(await pull(layer));
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
  const { blob, hold, pull, lineUp } = await startBench(t, 3);
  const { gate, pace, asked } = createPace();
  const holdings = ['a', 'b', 'c', 'd'].map(async (name) =>
    hold(blob(name), { priority: PRIORITY.sync, pace }),
  );
  await gate.arrived(2);
  await lineUp(2);
  t.is(asked.length, 2);
  t.true(await pull(blob('pulled')));
  t.true(await pull(blob('pulled next')));
  t.is(asked.length, 2);
  gate.open();
  t.deepEqual(await Promise.all(holdings), [true, true, true, true]);
  t.is(sum(asked), 8 * MIB);
});

test.serial(
  'a sync download without a turn for ten minutes gives up, unless a pull has joined it; a later attempt has it',
  async (t) => {
    const { registry, blob, sync, openPull, lineUp } = await startBench(t, 1);
    mock.timers.enable({ apis: ['setInterval'] });
    t.teardown(() => mock.timers.reset());
    const [first, left, joined] = [blob('first'), blob('left'), blob('joined')];
    const headers = registry.hold(first, { before: 'headers' });
    const pulling = openPull(first);
    await headers.arrived();
    const giving = t.throwsAsync(sync(left), {
      name: 'UpstreamError',
      message: `${UPSTREAM}: no turn for a transfer within 600000 ms`,
    });
    const holding = sync(joined);
    await lineUp(2);
    mock.timers.tick(5 * MINUTE);
    const pull = await openPull(joined);
    t.is(registry.requests.length, 2);
    mock.timers.tick(5 * MINUTE);
    const error = await giving;
    t.like(error, { fault: 'timeout', isUnasked: true });
    headers.open();
    await (await pulling).rest();
    t.true((await pull.rest()).equals(joined.bytes));
    t.true(await holding);
    t.true(await sync(left));
    t.deepEqual(registry.conversation(), [
      'GET /v2/library/app/blobs/<first>',
      'HEAD /v2/library/app/blobs/<joined>',
      'GET /v2/library/app/blobs/<joined>',
      'GET /v2/library/app/blobs/<left>',
    ]);
  },
);

test('where there is one place sync may have it', async (t) => {
  const { blob, hold } = await startBench(t, 1);
  t.true(await hold(blob('layer'), { priority: PRIORITY.sync }));
});

test('a pull does not wait with the sync downloads that it joins', async (t) => {
  const { blob, hold, pull, isHeld, lineUp } = await startBench(t, 2);
  const [running, waiting] = [createPace(), createPace()];
  const [first, wanted, other] = [blob('first'), blob('wanted'), blob('other')];
  const options = { priority: PRIORITY.sync, pace: waiting.pace };
  const holding = hold(first, { ...options, pace: running.pace });
  await running.gate.arrived();
  const holdings = [hold(wanted, options), hold(other, options)];
  await lineUp(2);
  t.true(await pull(wanted));
  t.deepEqual(await Promise.all([first, other].map(isHeld)), [false, false]);
  t.deepEqual([running.asked.length, waiting.asked.length], [1, 0]);
  running.gate.open();
  waiting.gate.open();
  t.deepEqual(await Promise.all([holding, ...holdings]), [true, true, true]);
});

test('a slowed download that a pull has joined gives its place back to sync', async (t) => {
  const { registry, blob, hold, openPull } = await startBench(t, 2);
  const { gate, pace } = createPace();
  const [first, second] = [blob('first', 3), blob('second')];
  const body = registry.hold(first, { after: 2 * MIB });
  const options = { priority: PRIORITY.sync, pace };
  const holding = hold(first, options);
  await gate.arrived();
  const response = await openPull(first);
  await response.read(MIB);
  const next = hold(second, options);
  await gate.arrived();
  t.false(body.isOpen);
  gate.open();
  t.true(await next);
  body.open();
  await response.rest();
  t.true(await holding);
});

test('a pull that joins a sync download has its share of a capped link beside other pulls', async (t) => {
  const { registry, blob, hold, pull, openPull, isHeld } = await startBench(t, 3, {
    bytesPerSecond: MIB,
  });
  const [other, joined] = [blob('other', 3), blob('joined', 1 / 4)];
  const headers = registry.hold(joined, { before: 'headers' });
  const holding = hold(joined, { priority: PRIORITY.sync });
  await headers.arrived();
  const response = await openPull(other);
  await response.read(1000);
  headers.open();
  t.true(await pull(joined));
  t.true(await holding);
  t.false(await isHeld(other));
});

test('the end of the process ends a pause', async (t) => {
  const { blob, hold, close } = await startBench(t, 2);
  const { gate, pace } = createPace();
  const holding = t.throwsAsync(hold(blob('layer'), { priority: PRIORITY.sync, pace }));
  await gate.arrived();
  await close();
  await holding;
  t.is(gate.waiting, 0);
});

/** A queue, and which transfers have begun; each goes on until `end`. */
function createQueue(concurrency: number) {
  const queue = new TransferQueue(concurrency);
  const demands = new Map<string, SharedDemand>();
  const gates = new Map<string, Gate>();
  const began: string[] = [];
  const over: Promise<void>[] = [];
  const take = (name: string, priority: number): void => {
    const gate = new Gate();
    gates.set(name, gate);
    const demand = new SharedDemand({ priority });
    demands.set(name, demand);
    const transfer = async (): Promise<void> => {
      using turn = queue.line(demand);
      await turn.begun;
      began.push(name);
      await gate.pass();
    };
    over.push(transfer());
  };
  const end = async (name: string): Promise<void> => {
    gates.get(name)?.open();
    await setImmediate();
  };
  const raise = (name: string, priority: number): void => {
    demands.get(name)?.join({ priority });
    queue.refill();
  };
  return { queue, take, raise, end, began, over };
}

test('what waits rises above what is less urgent; of equals the one that came first begins first', async (t) => {
  const { take, raise, end, began, over } = createQueue(1);
  take('pull', PRIORITY.interactive);
  take('sync 1', PRIORITY.sync);
  take('sync 2', PRIORITY.sync);
  take('hydration', PRIORITY.hydration);
  take('pull 2', PRIORITY.interactive);
  raise('sync 2', PRIORITY.interactive);
  raise('pull', PRIORITY.hydration);
  for (const name of ['pull', 'sync 2', 'pull 2', 'hydration', 'sync 1']) await end(name);
  await Promise.all(over);
  t.deepEqual(began, ['pull', 'sync 2', 'pull 2', 'hydration', 'sync 1']);
});

test('what the queue has already rises in it', async (t) => {
  const { take, raise, end, began, over } = createQueue(2);
  take('pull 1', PRIORITY.interactive);
  take('pull 2', PRIORITY.interactive);
  take('sync', PRIORITY.sync);
  take('hydration', PRIORITY.hydration);
  raise('sync', PRIORITY.interactive);
  await end('pull 1');
  t.deepEqual(began, ['pull 1', 'pull 2', 'sync']);
  for (const name of ['pull 2', 'sync', 'hydration']) await end(name);
  await Promise.all(over);
  t.deepEqual(began, ['pull 1', 'pull 2', 'sync', 'hydration']);
});

test('of the sync transfers the most urgent has the next place of theirs', async (t) => {
  const { take, raise, end, began, over } = createQueue(3);
  for (const name of ['a', 'b', 'c', 'd', 'e']) take(name, PRIORITY.sync);
  raise('e', PRIORITY.sync + 5);
  await setImmediate();
  t.deepEqual(began, ['a', 'b']);
  await end('b');
  t.deepEqual(began, ['a', 'b', 'e']);
  for (const name of ['a', 'e', 'c', 'd']) await end(name);
  await Promise.all(over);
  t.deepEqual(began, ['a', 'b', 'e', 'c', 'd']);
});

test("a place that is given up is the next one's", async (t) => {
  const { queue, take, end, began, over } = createQueue(2);
  const place = queue.line({ priority: PRIORITY.sync });
  take('next', PRIORITY.sync);
  await setImmediate();
  t.deepEqual(began, []);
  place[Symbol.dispose]();
  await end('next');
  await Promise.all(over);
  t.deepEqual(began, ['next']);
});

test('who joins a download until a deadline has left it from then on, and is told of bytes no more', async (t) => {
  const demand = new SharedDemand();
  const deadline = new AbortController();
  const told: number[] = [];
  const came = (bytes: number): unknown => told.push(bytes);
  demand.join({ priority: PRIORITY.warm, signal: deadline.signal, came });
  await demand.pass(10);
  t.deepEqual([demand.priority, demand.isAbandoned], [PRIORITY.warm, false]);
  deadline.abort();
  await demand.pass(5);
  t.deepEqual([demand.priority, demand.isAbandoned], [PRIORITY.abandoned, true]);
  demand.join({ priority: PRIORITY.warm, signal: deadline.signal });
  t.true(demand.isAbandoned, 'too late');
  t.deepEqual(told, [10]);
  t.false(demand.signal.aborted, 'it goes on for whoever asks next');
});
