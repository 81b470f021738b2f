/** What a transfer has beside its own place makes nobody wait, and goes as soon as somebody wants it. */
import test from 'ava';
import { Growth } from '../../src/mirror/downloads/growth.ts';
import { TransferQueue } from '../../src/mirror/downloads/transfer-queue.ts';
import { INTERACTIVE, SYNC } from '../../src/upstream/demand.ts';

test('one more connection leaves a place free, and is none where places are few', (t) => {
  t.false(new TransferQueue(2).mayHaveExtras);
  const queue = new TransferQueue(4);
  t.true(queue.mayHaveExtras);
  queue.line(INTERACTIVE);
  t.true(queue.hasPlaceForExtra(INTERACTIVE));
  queue.line(INTERACTIVE, { isExtra: true });
  t.true(queue.hasPlaceForExtra(INTERACTIVE));
  queue.line(INTERACTIVE, { isExtra: true });
  t.false(queue.hasPlaceForExtra(INTERACTIVE));
  const next = queue.line(INTERACTIVE);
  t.false(next.isWaiting);
});

test('whoever waits has the place of one more connection, whatever its priority', (t) => {
  const queue = new TransferQueue(3);
  const own = queue.line(INTERACTIVE);
  const extra = queue.line(INTERACTIVE, { isExtra: true });
  queue.line(INTERACTIVE);
  t.false(extra.isRevoked);
  const waiting = queue.line({ ...SYNC, priority: 15 });
  t.true(waiting.isWaiting);
  t.true(extra.isRevoked);
  t.false(own.isRevoked);
  extra[Symbol.dispose]();
  t.false(waiting.isWaiting);
});

test('what waits for one more connection makes nobody wait behind it', (t) => {
  const queue = new TransferQueue(1);
  const own = queue.line(INTERACTIVE);
  const extra = queue.line(INTERACTIVE, { isExtra: true });
  const other = queue.line(SYNC);
  own[Symbol.dispose]();
  t.false(other.isWaiting);
  t.true(extra.isWaiting);
});

test('a sync has one connection for a blob while a client is served', (t) => {
  const queue = new TransferQueue(8);
  queue.line(SYNC);
  const extra = queue.line(SYNC, { isExtra: true });
  t.true(queue.hasPlaceForExtra(SYNC));
  const client = queue.line(INTERACTIVE);
  t.false(client.isWaiting);
  t.true(extra.isRevoked);
  t.false(queue.hasPlaceForExtra(SYNC));
  t.true(queue.hasPlaceForExtra(INTERACTIVE));
  extra[Symbol.dispose]();
  client[Symbol.dispose]();
  t.true(queue.hasPlaceForExtra(SYNC));
});

/** What is said after each look: so many connections, so many bytes a millisecond. */
function looksOf(looks: readonly (readonly [number, number])[]): (string | undefined)[] {
  const growth = new Growth(0);
  let now = 0;
  return looks.map(([connections, rate]) => {
    now += 250;
    return growth.look(rate * 250, connections, now);
  });
}

test('more are tried as long as those added brought half of what each of the others does', (t) => {
  const growing = looksOf([
    [1, 10_000],
    [2, 20_000],
    [4, 40_000],
    [7, 57_000],
  ]);
  t.deepEqual(growing, ['more', 'more', 'more', 'more']);
});

test('what gains nothing is looked at twice as long', (t) => {
  const alone = [1, 50_000] as const;
  t.deepEqual(looksOf([alone, [2, 52_000], [2, 52_000]]), ['more', undefined, 'less']);
  t.deepEqual(looksOf([alone, [2, 52_000], [2, 110_000]]), ['more', undefined, 'more']);
  const four = [4, 20_500] as const;
  t.deepEqual(looksOf([[1, 10_000], [2, 20_000], four, four]), ['more', 'more', undefined, 'less']);
});

test('nothing is said before it was measured for a while', (t) => {
  const growth = new Growth(1_000);
  t.is(growth.look(1_000_000, 1, 1_100), undefined);
  t.is(growth.look(1_000_000, 1, 1_250), 'more');
  t.is(growth.rate, 8_000);
  growth.restart(2_000);
  t.is(growth.look(1, 2, 2_150), undefined);
});
