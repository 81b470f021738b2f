/** What is passed on without being kept takes memory by configuration, however many ask and stop. */
import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { SharedDemand } from '../../src/mirror/downloads/demand.ts';
import { Passage } from '../../src/mirror/downloads/passage.ts';
import type { TransferSource } from '../../src/mirror/downloads/transfer-source.ts';
import type { Reader } from '../../src/oci/content.ts';
import { Digester, parseDigest } from '../../src/oci/digest.ts';
import { INTERACTIVE } from '../../src/upstream/demand.ts';
import { buildBlob } from '../helpers/image.ts';

const MIB = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
const BLOB = buildBlob('windows', 16 * MIB);
const SOURCE = {
  digest: parseDigest(BLOB.digest),
  upstream: { name: 'docker.io' },
} as TransferSource;

async function* chunksOf({ bytes }: { readonly bytes: Buffer }): AsyncGenerator<Buffer, undefined> {
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    yield bytes.subarray(start, start + CHUNK_BYTES);
  }
  return undefined;
}

/** One blob of 16 MiB that is passed on to one client. */
function pass(t: ExecutionContext, passages: Set<Passage>) {
  const demand = new SharedDemand();
  const interest = demand.join(INTERACTIVE);
  const passage = new Passage({
    source: SOURCE,
    transfer: {
      size: BLOB.size,
      rest: () => undefined,
      discard: () => undefined,
      settle: () => undefined,
    },
    chunks: chunksOf(BLOB),
    demand,
    position: 0,
    digester: new Digester('sha256'),
    patienceMs: 1_000,
    passages,
  });
  const reader = passage.open({ start: 0, end: BLOB.size }, undefined) as Reader;
  const over = passage.run();
  const leave = async (): Promise<void> => {
    interest[Symbol.dispose]();
    await reader.close();
    await over;
  };
  t.teardown(leave);
  return { passage, reader, leave };
}

async function readAll(reader: Reader): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const part = await reader.read(Buffer.alloc(0));
    if (part.length === 0) return Buffer.concat(parts);
    parts.push(part);
  }
}

test('a hundred blobs without room and clients that do not read hold 64 MiB at most, and none is left out', async (t) => {
  const passages = new Set<Passage>();
  const all: ReturnType<typeof pass>[] = [];
  for (let n = 0; n < 100; n += 1) {
    all.push(pass(t, passages));
    await setImmediate();
  }
  const held = all.map(({ passage }) => passage.bytes);
  t.true(held[0]! > 4 * MIB, 'a whole window while there is room');
  t.true(held.every((bytes) => bytes >= 2 * CHUNK_BYTES));
  t.true(held.reduce((sum, bytes) => sum + bytes) <= 64 * MIB + 200 * CHUNK_BYTES);
  for (const { reader, passage, leave } of all) {
    t.true((await readAll(reader)).equals(BLOB.bytes));
    await leave();
    t.is(passage.bytes, 0);
  }
  t.is(passages.size, 0);
});

test('a client that leaves gives the window back', async (t) => {
  const passages = new Set<Passage>();
  const { passage, leave } = pass(t, passages);
  await setImmediate();
  t.true(passage.bytes > 4 * MIB);
  await leave();
  t.is(passages.size, 0);
});
