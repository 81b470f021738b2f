import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { LayoutWriter } from '../../../sync/bundle/layout-writer.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { createTempFolder } from '../../helpers/mirror.ts';
import { until } from '../../helpers/until.ts';

const BYTES = Buffer.from('the bytes of a blob');

async function* inPieces(bytes: Buffer, pause?: Promise<void>): AsyncGenerator<Buffer> {
  yield bytes.subarray(0, 5);
  await pause;
  yield bytes.subarray(5);
}

test('bytes that are not those of the digest are not left in the folder', async (t) => {
  const folder = await createTempFolder(t);
  const writer = await LayoutWriter.open(folder);
  const digest = digestOf(Buffer.from('other'));
  await t.throwsAsync(writer.write(digest, inPieces(BYTES)), {
    message: new RegExp(`the bytes of ${digest} are ${digestOf(BYTES)}: it is damaged`),
  });
  t.false(await writer.has(digest));
  t.deepEqual(await readdir(join(folder, 'blobs', 'sha256')), []);
});

test('a file has its name once all of it is there', async (t) => {
  const folder = await createTempFolder(t);
  const writer = await LayoutWriter.open(folder);
  const digest = digestOf(BYTES);
  const name = digest.slice('sha256:'.length);
  const rest = Promise.withResolvers<void>();
  const writing = writer.write(digest, inPieces(BYTES, rest.promise));
  const blobs = join(folder, 'blobs', 'sha256');
  await until('a part of it', async () => (await readdir(blobs).catch(() => [])).length > 0);
  t.deepEqual(await readdir(blobs), [`.${name}.tmp`]);
  rest.resolve();
  await writing;
  t.deepEqual(await readdir(blobs), [name]);
  t.deepEqual(await readFile(join(blobs, name)), BYTES);
});
