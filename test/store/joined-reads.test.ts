import { join } from 'node:path';
import test from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseTag, splitTarget } from '../../src/oci/reference.ts';
import { catalogMemory } from '../../src/store/catalog/catalog-memory.ts';
import { describeManifest } from '../../src/store/catalog/describe-manifest.ts';
import { JoinedReads } from '../../src/store/catalog/joined-reads.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { Tables } from '../../src/store/catalog/tables.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';

const TARGET = splitTarget('hub.example/library/app');

test('of a cold manifest one read brings all that its bytes are found by', async (t) => {
  const path = join(await createTempFolder(t), 'catalog');
  const { manifest } = buildImage({ seed: 1, layers: [10] });
  const digest = parseDigest(manifest.digest);
  const entry = describeManifest(
    digest,
    manifest.bytes.length,
    parseManifest(manifest.bytes, undefined),
  );
  const options = { durability: 'rename' } as const;
  const before = await LevelCatalog.open(path, options);
  const tags = [{ tag: parseTag('v1'), checkedAt: 1 }];
  await before.recordManifest(TARGET, { ...entry, tags }, 1);
  await before.close();

  const catalog = await LevelCatalog.open(path, options);
  t.teardown(async () => catalog.close());
  const { db } = catalog.tables;
  const trips: number[] = [];
  const getMany = db.getMany.bind(db);
  db.getMany = async (keys: string[]) => {
    trips.push(keys.length);
    return getMany(keys);
  };
  const record = await catalog.findTag(TARGET, parseTag('v1'));
  t.is(record?.digest, digest);
  t.like(await catalog.findManifest(TARGET, digest), { size: manifest.bytes.length });
  t.like(await catalog.findBlob(digest), { size: manifest.bytes.length });
  t.deepEqual(trips, [2]);
  // Nothing is read again.
  await catalog.findManifest(TARGET, digest);
  await catalog.findTag(TARGET, parseTag('v1'));
  t.deepEqual(trips, [2]);
});

test('a damaged record spoils no other one that is read with it', async (t) => {
  const path = join(await createTempFolder(t), 'catalog');
  const tables = await Tables.open(path, { durability: 'rename' });
  t.teardown(async () => tables.close());
  await tables.db.put('!blobs!one', { size: 1, storedAt: 1 });
  await tables.db.put('!blobs!two', '{"size":', { valueEncoding: 'utf8' });
  const reads = new JoinedReads(tables.db);
  const [one, two] = await Promise.allSettled(
    ['one', 'two'].map(async (key) => reads.get(tables.blobs, key)),
  );
  t.deepEqual(one, { status: 'fulfilled', value: { size: 1, storedAt: 1 } });
  t.is(two?.status, 'rejected');
});

test('what the catalog keeps in memory goes by the memory there is, within bounds', (t) => {
  const MIB = 1024 ** 2;
  const of = (mib: number) =>
    Object.values(catalogMemory(mib * MIB)).map((bytes) => Math.round(bytes / MIB));
  t.deepEqual([128, 512, 1024, 2048, 65_536].map(of), [
    [8, 4],
    [16, 4],
    [32, 8],
    [64, 16],
    [64, 16],
  ]);
});
