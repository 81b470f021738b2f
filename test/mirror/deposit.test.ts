/** A blob on its way into the store: its last chunks are in memory for those who keep up, and not for long. */
import { mock } from 'node:test';
import test from 'ava';
import { Deposit, type DepositParts } from '../../src/mirror/downloads/deposit.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Ingest } from '../../src/store/files/blob-store.ts';

const CHUNK = Buffer.alloc(64 * 1024, 1);

function open(): Deposit {
  const ingest = {
    written: 0,
    async append(chunk: Buffer) {
      this.written += chunk.length;
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
    await deposit.append(CHUNK);
    await deposit.append(CHUNK);
    mock.timers.tick(1_500);
    t.is(deposit.findRecent(0)?.length, CHUNK.length);
    t.is(deposit.findRecent(CHUNK.length + 10)?.length, CHUNK.length - 10);
    mock.timers.tick(500);
    t.is(deposit.findRecent(0), undefined);
    await deposit.append(CHUNK);
    t.is(deposit.findRecent(2 * CHUNK.length)?.length, CHUNK.length);
  },
);

test.serial('one mebibyte stays in memory at most', async (t) => {
  const deposit = open();
  for (let n = 0; n < 17; n += 1) await deposit.append(CHUNK);
  t.is(deposit.findRecent(0), undefined);
  t.is(deposit.findRecent(CHUNK.length)?.length, CHUNK.length);
});
