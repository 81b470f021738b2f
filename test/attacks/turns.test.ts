/** The places of an upstream are for those who read, in fair shares, and never held for nothing. */
import { Agent } from 'node:http';
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import { SharedDemand } from '../../src/mirror/downloads/demand.ts';
import { TransferQueue } from '../../src/mirror/downloads/transfer-queue.ts';
import { DroppedError } from '../../src/mirror/downloads/turn.ts';
import { INTERACTIVE } from '../../src/upstream/demand.ts';
import { get, open, type GetOptions } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, type Stored } from '../helpers/image.ts';
import { startMirror, type MirrorOptions, type TestMirror } from '../helpers/mirror.ts';

const MIB = 1024 * 1024;
const FIRST_BYTE_MS = 20_000;
const always = { times: Infinity };

interface Site {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
  /** Of so many MiB. */
  readonly add: (name: string, size: number) => Stored;
  readonly urlOf: (blob: Stored) => string;
  readonly pull: (blob: Stored, options?: GetOptions) => Promise<boolean>;
  /** The requests for this blob. */
  readonly asked: (blob: Stored) => string[];
}

/** One upstream with few places, where a place that brings nothing is lost soon. */
async function startSite(
  t: ExecutionContext,
  { places, turnMs = 40, ...rest }: { places: number; turnMs?: number } & Partial<MirrorOptions>,
): Promise<Site> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, {
    upstreams: { 'hub.example': { url: registry.url, concurrency: places } },
    timing: { turnMs },
    ...rest,
  });
  const urlOf = ({ digest }: Stored): string => `${mirror.url}/v2/team/app/blobs/${digest}`;
  return {
    registry,
    mirror,
    urlOf,
    add: (name, size) => registry.addBlob('team/app', buildBlob(name, size * MIB), { name }),
    pull: async (blob, options) => (await get(urlOf(blob), options)).body.equals(blob.bytes),
    asked: ({ digest }) =>
      registry.requests
        .filter(({ path }) => path.endsWith(digest))
        .map(({ method, range }) => (range === undefined ? method : `${method} ${range}`)),
  };
}

test('blobs that stand still after their headers hold up no other blob, and go on by the same transfer', async (t) => {
  const { registry, add, urlOf, pull, asked } = await startSite(t, { places: 2 });
  const still = [add('a', 2), add('b', 2), add('c', 2)];
  const gates = still.map((blob) => registry.hold(blob, { after: 1000 }));
  const readers = await Promise.all(still.map(async (blob) => open(urlOf(blob))));
  t.true(await pull(add('good', 2)));
  t.true(gates.every(({ isOpen }) => !isOpen));
  for (const [n, reader] of readers.entries()) {
    gates[n]?.open();
    t.true((await reader.rest()).equals((still[n] as Stored).bytes));
  }
  for (const blob of still) t.is(asked(blob).filter((line) => line.startsWith('GET')).length, 1);
});

test('blobs whose headers do not come hold up no other blob', async (t) => {
  const { registry, add, pull } = await startSite(t, { places: 2 });
  const silent = [add('a', 2), add('b', 2)];
  const gates = silent.map((blob) => registry.hang(blob, { method: 'GET' }));
  const waiting = silent.map(async (blob) => pull(blob));
  await Promise.all(gates.map(async (gate) => gate.arrived()));
  t.true(await pull(add('good', 2)));
  for (const gate of gates) gate.open();
  t.deepEqual(await Promise.all(waiting), [true, true]);
});

test('a blob that drips loses its turn and not its transfer', async (t) => {
  const { registry, mirror, add, urlOf, pull, asked } = await startSite(t, {
    places: 1,
    // Half of it is more than this process takes to hand bytes on, on a busy machine.
    turnMs: 2_000,
    leftovers: { partials: true },
  });
  const dripping = add('dripping', 2);
  registry.slow(dripping, { bytesPerSecond: 50 });
  const reader = await open(urlOf(dripping));
  await reader.read(10);
  t.true(await pull(add('good', 2)));
  const before = reader.taken;
  await reader.read(20);
  t.true(reader.taken > before);
  t.deepEqual(asked(dripping), ['GET']);
  reader.destroy();
  await mirror.abandon();
});

test('a transfer that sleeps because it was asked to leaves its place to others', async (t) => {
  const { registry, mirror, add, urlOf, pull, asked } = await startSite(t, {
    places: 1,
    turnMs: 60_000,
    leftovers: { partials: true },
  });
  const [limited, other] = [add('limited', 3), add('other', 2)];
  registry.cut(limited, { after: MIB });
  registry.status(limited, 503, { headers: { 'Retry-After': '50' } });
  const sleeping = await open(urlOf(limited));
  await registry.seen(/blobs/, 2);
  t.true(await pull(other));
  t.is(asked(limited).length, 2, 'it still sleeps');
  sleeping.destroy();
  await mirror.abandon();
});

test('what nobody reads any more goes behind what somebody reads, and gives its place up', async (t) => {
  const { registry, mirror, add, urlOf, pull } = await startSite(t, {
    places: 1,
    turnMs: 60_000,
  });
  const [left, alsoLeft, wanted] = [add('left', 8), add('also left', 2), add('wanted', 2)];
  registry.slow(left, { bytesPerSecond: 4 * MIB });
  const first = await open(urlOf(left));
  await first.read(1000);
  const second = await open(urlOf(alsoLeft));
  first.destroy();
  second.destroy();
  t.true(await pull(wanted));
  await mirror.idle();
  t.true(await pull(left));
  const path = 'GET /v2/team/app/blobs/';
  t.deepEqual(
    registry
      .conversation()
      .filter((line) => line.startsWith(path))
      .map((line) => line.slice(path.length).replace(/ bytes=\d{6,}-\d+$/, ' goes on')),
    ['<left>', '<wanted>', '<left> goes on', '<also left>'],
  );
});

test('one client cannot have all places while another one asks; a lone one may', async (t) => {
  const { registry, add, urlOf, pull, asked } = await startSite(t, { places: 2, turnMs: 60_000 });
  const greedy = ['a', 'b', 'c', 'd'].map((name) => add(name, 6));
  for (const blob of greedy.slice(0, 2)) registry.slow(blob, { bytesPerSecond: 6 * MIB });
  const readers = await Promise.all(greedy.map(async (blob) => open(urlOf(blob))));
  const begun = (): number => greedy.filter((blob) => asked(blob).includes('GET')).length;
  t.is(begun(), 2);
  const other = new Agent({ localAddress: '127.0.0.2' });
  const modest = add('modest', 2);
  t.true(await pull(modest, { agent: other }));
  t.is(begun(), 2, 'before any of the others had its turn');
  const bodies = await Promise.all(readers.map(async (reader) => reader.rest()));
  t.true(bodies.every((body, n) => body.equals((greedy[n] as Stored).bytes)));
});

for (const resumed of [0, 3, 70]) {
  const which = resumed === 70 ? 'the oldest' : 'the oldest that have not begun';
  test(`of 70 transfers that wait and nobody reads, ${resumed} with a part, ${which} end`, async (t) => {
    const queue = new TransferQueue(1);
    using _ = queue.line(INTERACTIVE);
    const turns = Array.from({ length: 70 }, (_each, n) => {
      const demand = new SharedDemand();
      const interest = demand.join(INTERACTIVE);
      demand.watch(() => queue.refill());
      return { turn: queue.line(demand, { isResumed: n < resumed }), interest };
    });
    t.true(turns.every(({ turn }) => turn.isWaiting));
    for (const { interest } of turns) interest[Symbol.dispose]();
    const ended = turns.flatMap(({ turn }, n) => (turn.isWaiting ? [] : [n]));
    const first = resumed % 70;
    t.deepEqual(ended, [first, first + 1, first + 2, first + 3, first + 4, first + 5]);
    await t.throwsAsync(async () => turns[first]?.turn.begun, { instanceOf: DroppedError });
    for (const { turn } of turns) turn[Symbol.dispose]();
  });
}

test('what waits for its turn has no connection open, and its clients have their headers', async (t) => {
  const { registry, add, urlOf, asked } = await startSite(t, { places: 2, turnMs: 60_000 });
  const blobs = Array.from({ length: 12 }, (_, n) => add(`blob ${n}`, 2));
  const gates = blobs.map((blob) => registry.hold(blob, { after: 1000 }));
  const readers = await Promise.all(blobs.map(async (blob) => open(urlOf(blob))));
  for (const { headers } of readers) t.is(headers['content-length'], String(2 * MIB));
  const running = blobs.filter((blob) => asked(blob).includes('GET'));
  t.is(running.length, 2);
  for (const gate of gates) gate.open();
  const bodies = await Promise.all(readers.map(async (reader) => reader.rest()));
  t.true(bodies.every((body, n) => body.equals((blobs[n] as Stored).bytes)));
  t.is(registry.bytesSent, blobs.length * 2 * MIB);
});

test('where a HEAD tells no length, or one of 0, a held manifest does', async (t) => {
  const { registry, mirror, add, urlOf } = await startSite(t, { places: 1, turnMs: 60_000 });
  const image = buildImage({ seed: t.title, layers: [2 * MIB, 3 * MIB] });
  registry.addImage('team/app', 'v1', image, { name: 'app' });
  t.is((await get(`${mirror.url}/v2/team/app/manifests/v1`)).status, 200);
  const first = add('first', 2);
  const gate = registry.hold(first, { after: 1000 });
  const running = await open(urlOf(first));
  registry.omitHeaders(image.layer(0), ['Content-Length'], { ...always, method: 'HEAD' });
  registry.status(new RegExp(image.layer(1).digest), 200, {
    ...always,
    method: 'HEAD',
    body: '',
    contentType: 'application/octet-stream',
  });
  const readers = await Promise.all(image.layers.map(async (layer) => open(urlOf(layer))));
  t.deepEqual(
    readers.map(({ headers }) => headers['content-length']),
    image.layers.map(({ size }) => String(size)),
  );
  gate.open();
  for (const [n, reader] of readers.entries()) {
    t.true((await reader.rest()).equals(image.layer(n).bytes));
  }
  await running.rest();
});

test('an upstream that refuses HEAD tells by GET, in its turn', async (t) => {
  const { registry, add, urlOf, pull } = await startSite(t, { places: 1, turnMs: 60_000 });
  const [first, refused, absent] = [add('first', 2), add('refused', 2), buildBlob('absent', 10)];
  const gate = registry.hold(first, { after: 1000 });
  const running = await open(urlOf(first));
  registry.status(refused, 501, { ...always, method: 'HEAD' });
  const pulling = pull(refused);
  t.is((await get(urlOf(absent))).status, 404);
  gate.open();
  t.true(await pulling);
  await running.rest();
});

// Serial: it has the timers of the whole process, whose other waits are longer.
test.serial(
  'those who joined a silent transfer share one new attempt; whoever comes later joins that one',
  async (t) => {
    const registry = await FakeRegistry.start(t);
    const blob = registry.addBlob('team/app', buildBlob(t.title, 2 * MIB), { name: 'layer' });
    const mirror = await startMirror(t, {
      upstreams: { 'hub.example': { url: registry.url } },
      timing: { firstByteMs: FIRST_BYTE_MS, attemptsMs: 0 },
    });
    const url = `${mirror.url}/v2/team/app/blobs/${blob.digest}`;
    const silent = registry.hang(blob, { method: 'GET' });
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const first = get(url);
    await silent.arrived();
    const second = registry.hold(blob, { before: 'headers', method: 'GET' });
    const joined = Array.from({ length: 20 }, async () => get(url));
    await get(`${mirror.url}/v2/`);
    mock.timers.tick(FIRST_BYTE_MS);
    mock.timers.reset();
    await second.arrived();
    const later = Array.from({ length: 20 }, async () => get(url));
    t.is((await first).status, 504);
    second.open();
    for (const { body } of await Promise.all([...joined, ...later]))
      t.true(body.equals(blob.bytes));
    t.is((await registry.seen(blob)).length, 2);
    silent.open();
  },
);
