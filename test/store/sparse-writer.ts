/**
 * Writes a blob at random places until it kills itself at a step:
 * `sparse-writer.ts STORE SEED DURABILITY STEP COUNT`.
 */
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { Chance } from '../crash/chance.ts';
import { SPARSE } from './sparse-blob.ts';

const [path = '', seed = '', durability = '', last = '', count = '1'] = process.argv.slice(2);
const chance = new Chance(Number(seed));

let left = Number(count);
function step(name: string): void {
  if (name !== last) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}

const store = await BlobStore.open({
  path,
  durability: durability === 'full' ? 'full' : 'rename',
  step,
});
await store.takeOver();
const { bytes, digest } = SPARSE;
for (;;) {
  const ingest = await store.ingest(digest, 'hub.example');
  if (ingest.written === 0) await ingest.append(bytes.subarray(0, 1_000));
  await ingest.spread(bytes.length);
  while (ingest.held < bytes.length) {
    const [hole] = ingest.holes({ start: chance.between(0, bytes.length), end: bytes.length });
    const start = hole?.start ?? ingest.written;
    const end = Math.min(start + chance.between(1, 30_000), hole?.end ?? bytes.length);
    await ingest.write(bytes.subarray(start, end), start);
    // Ends, goes on, or begins anew, as downloads do.
    if (chance.next() < 0.1) break;
  }
  if (ingest.held < bytes.length) await ingest.abort({ keep: true });
  else {
    await ingest.verify(bytes.length);
    await ingest.commit();
    await store.delete(digest);
  }
}
