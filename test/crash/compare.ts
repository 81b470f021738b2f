import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, splitDigest, type Digest } from '../../src/oci/digest.ts';
import type { RunningServer } from '../../src/server.ts';

/** Every file against its name and its record, every record against its file. */
export async function compare(server: RunningServer, storePath: string): Promise<string[]> {
  const { blobs, catalog } = server;
  const wrong: string[] = [];
  const records = new Map(await Array.fromAsync(catalog.listBlobs()));
  const usage = { blobs: records.size, bytes: 0 };
  for (const { size } of records.values()) usage.bytes += size;
  for await (const digest of blobs.folders.list()) {
    const bytes = await readFile(pathOf(storePath, digest));
    if (digestOf(bytes) !== digest) wrong.push(`${digest} is damaged`);
    const record = records.get(digest);
    if (!record) wrong.push(`${digest} has no record`);
    else if (record.size !== bytes.length) wrong.push(`${digest} is recorded with another size`);
    records.delete(digest);
  }
  for (const digest of records.keys()) wrong.push(`${digest} is recorded and has no file`);
  await catalog.counted;
  const counted = catalog.usage;
  if (counted.blobs !== usage.blobs || counted.bytes !== usage.bytes) {
    wrong.push(`counted ${JSON.stringify(counted)}, recorded ${JSON.stringify(usage)}`);
  }
  return wrong;
}

function pathOf(storePath: string, digest: Digest): string {
  const { algorithm, encoded } = splitDigest(digest);
  return join(storePath, 'blobs', algorithm, encoded.slice(0, 2), encoded);
}
