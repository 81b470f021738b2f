import { chmod, mkdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import type { Stored } from '../helpers/image.ts';
import { blobPath } from '../helpers/mirror.ts';

export type Injury = 'flipped' | 'cut short' | 'deleted' | 'replaced by a folder';

/** What disks and hands do to the file of a held blob, its time of writing as it was. */
export async function injure(storePath: string, blob: Stored, injury: Injury): Promise<void> {
  const path = blobPath(storePath, blob.digest);
  const { atime, mtime } = await stat(path);
  if (injury === 'deleted') return rm(path);
  if (injury === 'replaced by a folder') {
    await rm(path);
    await mkdir(path);
    return writeFile(`${path}/in-the-way`, '');
  }
  await chmod(path, 0o600);
  if (injury === 'cut short') await truncate(path, blob.size >> 1);
  else await writeFile(path, flip(blob.bytes));
  await chmod(path, 0o444);
  await utimes(path, atime, mtime);
}

/** One bit of a byte in the middle is another. */
export function flip(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  const middle = bytes.length >> 1;
  flipped[middle] = (flipped[middle] ?? 0) ^ 1;
  return flipped;
}
