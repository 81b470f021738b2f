/** A blob on its way into the store: its last chunks are in memory for those who keep up, and not for long. */
import { mock } from 'node:test';
import test from 'ava';
import { BLOCKS } from '../../src/net/blocks.ts';
import { Deposit, type DepositParts } from '../../src/mirror/downloads/deposit.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Ingest } from '../../src/store/files/blob-store.ts';

const CHUNK = Buffer.alloc(64 * 1024, 1);

function open(): Deposit {
  const ingest = {
    written: 0,
    held: 0,
    async append(chunk: Buffer) {
      this.written += chunk.length;
      this.held += chunk.length;
    },
  };
  return new Deposit({} as DepositParts, {} as Target, ingest as unknown as Ingest);
}

test.before(() => mock.timers.enable({ apis: ['setTimeout'] }));
test.after(() => mock.timers.reset());

test.serial(
  'who keeps up reads from memory, and the file when no bytes have come for two seconds',
  async (t) => {
    const deposit = open();
    await deposit.write(CHUNK, deposit.ingest.written);
    await deposit.write(CHUNK, deposit.ingest.written);
    mock.timers.tick(1_500);
    t.is(deposit.recent.find(0)?.length, CHUNK.length);
    t.is(deposit.recent.find(CHUNK.length + 10)?.length, CHUNK.length - 10);
    mock.timers.tick(500);
    t.is(deposit.recent.find(0), undefined);
    await deposit.write(CHUNK, deposit.ingest.written);
    t.is(deposit.recent.find(2 * CHUNK.length)?.length, CHUNK.length);
  },
);

test.serial('one mebibyte stays in memory at most', async (t) => {
  const deposit = open();
  for (let n = 0; n < 17; n += 1) await deposit.write(CHUNK, deposit.ingest.written);
  t.is(deposit.recent.find(0), undefined);
  t.is(deposit.recent.find(CHUNK.length)?.length, CHUNK.length);
});

test.serial('memory that a reader was lent is not used again, and all other is', async (t) => {
  const deposit = open();
  const blocks = [BLOCKS.take(), BLOCKS.take()];
  for (const block of blocks) await deposit.write(block, deposit.ingest.written);
  const [kept, lent] = blocks;
  t.truthy(deposit.recent.find(kept?.length ?? 0));
  deposit[Symbol.dispose]();
  const later = [BLOCKS.take(), BLOCKS.take(), BLOCKS.take()].map(({ buffer }) => buffer);
  t.true(kept && later.includes(kept.buffer));
  t.false(lent && later.includes(lent.buffer));
});

test.serial('a reader takes a copy of several chunks at once', async (t) => {
  const deposit = open();
  for (let n = 1; n <= 3; n += 1)
    await deposit.write(Buffer.alloc(1000, n), deposit.ingest.written);
  const into = Buffer.alloc(1500);
  t.is(deposit.recent.copy(into, 900), 1500);
  t.deepEqual([into[99], into[100], into[1099], into[1100]], [1, 2, 2, 3]);
  t.is(deposit.recent.copy(into, 2990), 10);
  t.is(deposit.recent.copy(into, 3000), 0);
});
