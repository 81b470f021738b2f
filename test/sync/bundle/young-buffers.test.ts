import test from 'ava';
import { collected } from '../../../sync/bundle/young-buffers.ts';

const MIB = 2 ** 20;

async function* fresh(count: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < count; at += 1) yield Buffer.alloc(64 * 1024, at % 251);
}

test('of a stream of any length, no more than some chunks are in memory', async (t) => {
  const before = process.memoryUsage().arrayBuffers;
  let [at, most] = [0, 0];
  for await (const chunk of collected(fresh(4096))) {
    if (chunk[0] !== at % 251 || chunk.length !== 64 * 1024) t.fail('another chunk');
    at += 1;
    if (at % 64 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  t.is(at, 4096);
  t.true(most < 32 * MIB, `${most}`);
});
