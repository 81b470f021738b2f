import test, { type ExecutionContext } from 'ava';
import { Bandwidth } from '../../src/upstream/bandwidth.ts';
import { PRIORITY } from '../../src/upstream/demand.ts';
import { SECOND } from '../helpers/clock.ts';
import { FakeTimer } from '../helpers/fake-timer.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

interface CapCase {
  readonly bytesPerSecond: number;
  /** Of each transfer, the sizes of its chunks, again and again. */
  readonly transfers: readonly (readonly number[])[];
}

/** Keeps as many transfers as are given going, and counts the bytes of each. */
function startTransfers(cap: Bandwidth, transfers: CapCase['transfers']) {
  const abort = new AbortController();
  const bytes = transfers.map(() => 0);
  const over = Promise.all(
    transfers.map(async (sizes, transfer) => {
      for (let turn = 0; !abort.signal.aborted; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 0;
        await cap.take(size, { priority: PRIORITY.sync, signal: abort.signal });
        if (!abort.signal.aborted) bytes[transfer] = (bytes[transfer] ?? 0) + size;
      }
    }),
  );
  return { bytes, sum: () => bytes.reduce((sum, part) => sum + part, 0), abort, over };
}

/** Within 5 % in the ten seconds from the start, and in those that begin later. */
async function holds(t: ExecutionContext, { bytesPerSecond, transfers }: CapCase): Promise<void> {
  const timer = new FakeTimer();
  const { sum, abort, over } = startTransfers(new Bandwidth(bytesPerSecond, timer), transfers);
  const marks = [0];
  for (let second = 0; second < 13; second += 1) {
    await timer.advance(SECOND);
    marks.push(sum());
  }
  abort.abort();
  await timer.advance(SECOND);
  await over;
  const shares = [0, 1, 2, 3].map(
    (start) => ((marks[start + 10] ?? 0) - (marks[start] ?? 0)) / (10 * bytesPerSecond),
  );
  t.deepEqual(
    shares.filter((share) => Math.abs(share - 1) > 0.05),
    [],
    `shares of the cap: ${shares.join(', ')}`,
  );
}

test('chunks of 1 KiB', holds, { bytesPerSecond: MIB, transfers: [[KIB]] });
test('chunks of 16 KiB', holds, { bytesPerSecond: 4 * MIB, transfers: [[16 * KIB]] });
test('chunks of 1 MiB', holds, { bytesPerSecond: 20 * MIB, transfers: [[MIB]] });
test('chunks of 1 MiB, one a second', holds, { bytesPerSecond: MIB, transfers: [[MIB]] });
test('chunks of all sizes', holds, {
  bytesPerSecond: 5 * MIB,
  transfers: [[KIB, MIB, 3 * KIB, 64 * KIB, 200_001, 17 * KIB, 777]],
});
test('many transfers together', holds, {
  bytesPerSecond: 10 * MIB,
  transfers: [[MIB], [16 * KIB], [64 * KIB], [KIB, 500 * KIB], [16 * KIB], [333_333]],
});

test('transfers share the rate by bytes, whatever their chunks', async (t) => {
  const timer = new FakeTimer();
  const transfers = [[MIB], [64 * KIB], [10 * KIB]];
  const { bytes, abort, over } = startTransfers(new Bandwidth(2 * MIB, timer), transfers);
  await timer.advance(20 * SECOND);
  abort.abort();
  await timer.advance(SECOND);
  await over;
  const [large = 0, middle = 0] = bytes;
  t.true(middle > large / 2, `${middle} bytes in 64 KiB chunks, ${large} in those of 1 MiB`);
});

test('a link that was idle has saved up next to nothing', async (t) => {
  const timer = new FakeTimer();
  const cap = new Bandwidth(MIB, timer);
  await timer.advance(3_600 * SECOND);
  const { sum, abort, over } = startTransfers(cap, [[KIB]]);
  await timer.advance(0);
  t.true(sum() <= 0.11 * MIB, `${sum()} bytes at once`);
  abort.abort();
  await timer.advance(SECOND);
  await over;
});

test('an abort ends the pause of a chunk at once, and costs the others next to nothing', async (t) => {
  const timer = new FakeTimer();
  const cap = new Bandwidth(100 * KIB, timer);
  const abort = new AbortController();
  const other = new AbortController();
  const passed: [name: string, at: number][] = [];
  const take = async (name: string, bytes: number, { signal }: AbortController): Promise<void> => {
    await cap.take(bytes, { priority: PRIORITY.sync, signal });
    passed.push([name, timer.now()]);
  };
  const first = take('aborted', MIB, abort);
  await timer.advance(SECOND);
  const second = take('other', 100 * KIB, other);
  abort.abort();
  await first;
  t.deepEqual(passed, [['aborted', 1_000]]);
  await timer.advance(2 * SECOND);
  await second;
  // Its own second, less what a link may save up.
  t.deepEqual(passed, [
    ['aborted', 1_000],
    ['other', 2_000],
  ]);
  await take('too late', MIB, abort);
  t.deepEqual(passed.at(-1), ['too late', 3_000]);
});
