/**
 * Fills a store until it is killed: `crash-writer.ts STORE ROUND`. Prints each digest once the store
 * has promised to keep it.
 */
import { join } from 'node:path';
import { readDescriptor } from '../../src/oci/descriptor.ts';
import { digestOf, parseDigest } from '../../src/oci/digest.ts';
import { parseRepository, parseTag } from '../../src/oci/reference.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { buildImage } from '../helpers/image.ts';

const [path = '', round = ''] = process.argv.slice(2);
const store = await BlobStore.open({ path, durability: 'full' });
const catalog = await LevelCatalog.open(join(path, 'catalog'), { durability: 'full' });
const target = { upstream: 'registry.example', repository: parseRepository('app') };

async function writeImage(seed: string): Promise<void> {
  const image = buildImage({ seed, layers: [100, 20_000] });
  const { bytes, size, mediaType } = image.manifest;
  const digest = digestOf(bytes);
  await store.writeBytes(digest, bytes);
  const successors = image.blobs
    .map((blob) => readDescriptor(blob))
    .filter((blob) => blob !== undefined);
  const descriptor = { digest, mediaType, size };
  await catalog.recordManifest(
    target,
    { descriptor, successors, tags: [{ tag: parseTag(`t-${seed}`), checkedAt: Date.now() }] },
    Date.now(),
  );
  process.stdout.write(`manifest ${digest} t-${seed}\n`);
  for (const blob of image.blobs) {
    const name = parseDigest(blob.digest);
    const ingest = await store.ingest(name, 'hub.example');
    await ingest.append(blob.bytes.subarray(ingest.written));
    await ingest.verify(blob.size);
    await ingest.commit();
    await catalog.recordBlob(target, name, { size: blob.size, storedAt: Date.now() });
    process.stdout.write(`blob ${name}\n`);
  }
}

for (let count = 0; ; count += 1) await writeImage(`${round}-${count}`);
