import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { Bandwidth, type Ticker } from '../../src/upstream/bandwidth.ts';
import { INTERACTIVE, PRIORITY, type Demand } from '../../src/upstream/demand.ts';
import { buildImage } from '../helpers/image.ts';
import { REPOSITORY, startScene } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const SYNC: Demand = { priority: PRIORITY.sync };

/** Time that passes only in pauses, and what is to happen in each of them. */
class FakeTicker implements Ticker {
  readonly #during: (() => void)[] = [];
  #now = 5_000;

  now(): number {
    return this.#now;
  }

  async sleep(ms: number): Promise<void> {
    // Who was let through before it has seen the time of that by now.
    await setImmediate();
    this.#during.shift()?.();
    this.#now += ms;
  }

  advance(ms: number): void {
    this.#now += ms;
  }

  /** One act for each pause, in turn. */
  during(...acts: (() => void)[]): void {
    this.#during.push(...acts);
  }
}

/** A cap, and who was let through when, in milliseconds since the beginning. */
function createBench(bytesPerSecond: number) {
  const ticker = new FakeTicker();
  const bandwidth = new Bandwidth(bytesPerSecond, ticker);
  const began = ticker.now();
  const passed: [name: string, at: number][] = [];
  const take = async (name: string, bytes: number, demand: Demand = INTERACTIVE): Promise<void> => {
    await bandwidth.take(bytes, demand);
    passed.push([name, ticker.now() - began]);
  };
  return { ticker, passed, take };
}

test('the rate is held exactly over many chunks', async (t) => {
  const { passed, take } = createBench(1_000_000);
  for (let turn = 0; turn < 1_000; turn += 1) await take('chunk', 50_000);
  // 50 ms each; the first two are the burst.
  t.deepEqual(
    passed.map(([, at]) => at),
    Array.from({ length: 1_000 }, (_, turn) => Math.max(0, (turn - 2) * 50)),
  );
});

test('chunks of all sizes take the time of their bytes', async (t) => {
  const { passed, take } = createBench(1_000);
  const sizes = [1, 700, 30, 5_000, 1, 64, 12_000, 999, 3];
  let bytes = 0;
  const expected = sizes.map((size) => {
    // A chunk is paid for in parts of 50 bytes, and is passed on with its last one.
    const at = Math.max(0, bytes + size - (size % 50 || 50) - 100);
    bytes += size;
    return at;
  });
  for (const size of sizes) await take('chunk', size);
  t.deepEqual(
    passed.map(([, at]) => at),
    expected,
  );
});

for (const [claim, demand] of [
  ['all transfers share the rate', INTERACTIVE],
  ['background chunks wait for nothing but the rate when nobody else does', SYNC],
] as const) {
  test(claim, async (t) => {
    const { passed, take } = createBench(1_000);
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map(async (name) => take(name, 50, demand)));
    t.deepEqual(passed, [
      ['a', 0],
      ['b', 0],
      ['c', 0],
      ['d', 50],
      ['e', 100],
    ]);
  });
}

test('a link that was idle, however long, has saved up a tenth of a second', async (t) => {
  const { ticker, passed, take } = createBench(1_000);
  await take('first', 100);
  ticker.advance(3_600_000);
  for (const name of ['a', 'b', 'c', 'd']) await take(name, 50);
  t.deepEqual(passed, [
    ['first', 0],
    ['a', 3_600_000],
    ['b', 3_600_000],
    ['c', 3_600_000],
    ['d', 3_600_050],
  ]);
});

test('a pause shorter than that has saved up no more than itself', async (t) => {
  const { ticker, passed, take } = createBench(1_000);
  await take('first', 1_100);
  ticker.advance(80);
  for (const name of ['a', 'b', 'c']) await take(name, 20);
  t.deepEqual(passed, [
    ['first', 950],
    ['a', 1_030],
    ['b', 1_030],
    ['c', 1_040],
  ]);
});

test('interactive chunks go first at each step, also those that come in the pause before it', async (t) => {
  const { ticker, passed, take } = createBench(1_000);
  const taking: Promise<void>[] = [];
  const later = (name: string, demand: Demand) => (): void => {
    taking.push(take(name, 50, demand));
  };
  const nothing = (): void => {};
  const [pull3, sync5] = [later('pull 3', INTERACTIVE), later('sync 5', SYNC)];
  const [pull4, pull5] = [later('pull 4', INTERACTIVE), later('pull 5', INTERACTIVE)];
  ticker.during(pull3, sync5, pull4, nothing, pull5);
  for (const name of ['sync 1', 'sync 2', 'sync 3', 'sync 4']) taking.push(take(name, 50, SYNC));
  for (const name of ['pull 1', 'pull 2']) taking.push(take(name, 50));
  // Those that come in the pauses are waited for too.
  for (const each of taking) await each;
  t.deepEqual(passed, [
    ['sync 1', 0],
    ['sync 2', 0],
    ['sync 3', 0],
    ['pull 1', 50],
    ['pull 2', 100],
    ['pull 3', 150],
    ['pull 4', 200],
    ['pull 5', 250],
    ['sync 4', 300],
    ['sync 5', 350],
  ]);
});

test('chunks that wait go in the order of their priority, as it is when they are chosen', async (t) => {
  const { ticker, passed, take } = createBench(1_000);
  const joined = { priority: PRIORITY.sync as number };
  ticker.during(() => (joined.priority = PRIORITY.interactive));
  const taking = [
    take('first', 100),
    take('second', 50),
    take('scrub', 50, { priority: PRIORITY.scrub }),
    take('sync', 50, SYNC),
    take('joined', 50, joined),
    take('hydration', 50, { priority: PRIORITY.hydration }),
    take('pull', 50),
  ];
  await Promise.all(taking);
  t.deepEqual(
    passed.map(([name]) => name),
    ['first', 'second', 'joined', 'pull', 'hydration', 'sync', 'scrub'],
  );
});

test('a chunk that nobody wants any more waits no longer, and costs the others nothing', async (t) => {
  const { passed, take } = createBench(1_000);
  const leaving = new AbortController();
  const demand = { ...INTERACTIVE, signal: leaving.signal };
  const first = take('first', 1_000);
  const left = [take('left', 5_000, demand), take('left too', 5_000, demand)];
  const last = take('last', 100);
  leaving.abort();
  await Promise.all(left);
  await take('come too late', 5_000, demand);
  await Promise.all([first, last]);
  t.deepEqual(passed, [
    ['left', 0],
    ['left too', 0],
    ['come too late', 0],
    ['last', 200],
    ['first', 950],
  ]);
});

test('a transfer under a cap delivers every byte', async (t) => {
  const { registry, manifest, blob } = await startScene(t, {
    upstream: { bytesPerSecond: 1_500_000 },
  });
  const image = buildImage({ seed: 'capped', layers: [300_000, 150_000] });
  registry.addImage(REPOSITORY, 'capped', image, { name: 'capped' });
  t.deepEqual((await manifest('capped')).body, image.manifest.bytes);
  const answers = await Promise.all(
    [...image.blobs, ...image.blobs].map(async (stored) => blob(stored)),
  );
  t.deepEqual(
    answers.map(({ status, body }) => [status, body.length]),
    [...image.blobs, ...image.blobs].map(({ size }) => [200, size]),
  );
  for (const [turn, { body }] of answers.entries()) {
    t.deepEqual(body, image.blobs[turn % image.blobs.length]?.bytes);
  }
  t.is(registry.conversation((request) => request.path.includes('/blobs/')).length, 3);
});

for (const what of ['blob', 'manifest'] as const) {
  test(`the end of the process does not wait for a ${what} that a cap holds back`, async (t) => {
    const { registry, mirror, ask } = await startScene(t, {
      upstream: { bytesPerSecond: 100 },
      graceMs: 0,
    });
    const image = buildImage({
      seed: 'capped',
      layers: [300_000],
      annotations: { a: 'x'.repeat(300_000) },
    });
    registry.addImage(REPOSITORY, 'capped', image, { name: 'capped' });
    const { digest } = what === 'blob' ? image.layer(0) : image.manifest;
    const asking = ask(`/v2/${REPOSITORY}/${what}s/${digest}`);
    const cut = t.throwsAsync(asking);
    await until('all is on its way', () => registry.bytesSent >= 300_000);
    await mirror.abandon();
    await cut;
  });
}

test('time in which a cap holds an answer back is no silence of the upstream', async (t) => {
  const { registry, manifest } = await startScene(t, {
    upstream: { bytesPerSecond: 200 },
    timing: { exchangeMs: 1_000 },
  });
  // The cap takes more than three seconds over it; a link would have less than two.
  const image = buildImage({ seed: 'capped', layers: [], annotations: { a: 'x'.repeat(400) } });
  t.true(image.manifest.size > 600);
  registry.addImage(REPOSITORY, 'capped', image, { name: 'capped' });
  t.is((await manifest('capped')).status, 200);
});
