import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { digestOf, IntegrityError, type Digest } from '../../src/oci/digest.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { blobPath, createTempFolder } from '../helpers/mirror.ts';

const PIECES = ['one ', 'and ', 'two'].map((text) => Buffer.from(text));
const BYTES = Buffer.concat(PIECES);

async function arrived(path: string, algorithm?: 'sha256' | 'sha512') {
  const store = await BlobStore.open({ path, durability: 'full' });
  const arrival = await store.arrive(algorithm);
  for (const piece of PIECES) await arrival.append(piece);
  return { store, arrival };
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`bytes that come without a name are found by what they are: ${algorithm}`, async (t) => {
    const path = await createTempFolder(t);
    const { store, arrival } = await arrived(path, algorithm);
    const digest = digestOf(BYTES, algorithm);
    t.deepEqual([arrival.digest, arrival.written], [digest, BYTES.length]);
    t.is(await store.find(digest), undefined);
    const changedAt = await arrival.commit();
    t.is((await store.find(digest, { size: BYTES.length, changedAt }))?.isVerified, true);
    t.deepEqual(await readFile(blobPath(path, digest)), BYTES);
    t.deepEqual(await readdir(join(path, 'ingest')), []);
    t.deepEqual(store.aside.amountOf('ingest'), { files: 0, bytes: 0 });
  });
}

test('bytes that are not what is expected are no blob, and are gone', async (t) => {
  const path = await createTempFolder(t);
  const { store, arrival } = await arrived(path);
  const expected = digestOf(Buffer.from('other'));
  await t.throwsAsync(arrival.commit(expected), { instanceOf: IntegrityError });
  await arrival.abort();
  for (const digest of [expected, digestOf(BYTES)] satisfies Digest[]) {
    await t.throwsAsync(access(blobPath(path, digest)));
  }
  t.deepEqual(await readdir(join(path, 'ingest')), []);
  t.is(store.aside.claimedBytes, 0);
});

test('what a kill leaves of nameless bytes is swept, and what stood there for long is not', async (t) => {
  const path = await createTempFolder(t);
  const { arrival } = await arrived(path);
  await writeFile(join(path, 'ingest', 'sha256-1@hub.example'), 'partial');
  t.is((await readdir(join(path, 'ingest'))).length, 2);
  const next = await BlobStore.open({ path, durability: 'full' });
  await next.takeOver();
  t.deepEqual(await readdir(join(path, 'ingest')), ['sha256-1@hub.example']);
  await arrival.abort();
});
