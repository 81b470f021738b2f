import { rm, type FileHandle } from 'node:fs/promises';
import type { Digest } from '../../oci/digest.ts';
import type { CrashPoint } from '../faults.ts';
import { ForeignFileError, look, openOwn } from '../own-file.ts';
import { FillMap } from './fill-map.ts';
import { mapOf, sparseOf } from './folders.ts';
import { Intervals } from './intervals.ts';
import { SparseFill } from './sparse-fill.ts';

/** Where a blob grows, with what an earlier ingest left there. */
export interface PartialFile {
  readonly handle: FileHandle;
  /** Its name now. */
  readonly path: string;
  readonly filled: Intervals;
  /** Of a file with holes. */
  readonly fill: SparseFill | undefined;
}

interface PartialPlace {
  readonly partial: string;
  readonly durability: 'full' | 'rename';
  readonly step: CrashPoint;
}

/** With holes where a map is there; else all of a file up to its length counts. */
export async function openPartial(digest: Digest, place: PartialPlace): Promise<PartialFile> {
  const { partial } = place;
  const sparse = await openSparse(digest, place);
  if (sparse) {
    await rm(partial, { force: true });
    return sparse;
  }
  for (const path of [mapOf(partial), sparseOf(partial)]) await rm(path, { force: true });
  // What is none of our files gives way to a new one: itself, not what a link leads to.
  const handle = await openOwn(partial, 'update').catch(async (error: unknown) => {
    if (error instanceof ForeignFileError) return openOwn(partial, 'replace');
    throw error;
  });
  const filled = new Intervals([{ start: 0, end: (await handle.stat()).size }]);
  return { handle, path: partial, filled, fill: undefined };
}

async function openSparse(digest: Digest, place: PartialPlace): Promise<PartialFile | undefined> {
  const path = sparseOf(place.partial);
  const mapPath = mapOf(place.partial);
  const found = await look(path);
  if (!found?.isFile()) return undefined;
  const inode = found.ino;
  const said = await FillMap.read(mapPath, { digest, inode });
  if (!said) return undefined;
  const handle = await openOwn(path, 'update');
  try {
    const { ino, size: length } = await handle.stat();
    if (ino !== inode || said.filled.end > length) throw new ForeignFileError(path);
    const mapped = { digest, inode, size: said.size };
    const { filled } = said;
    const fill = await SparseFill.begin({ ...place, mapPath, mapped, data: handle }, filled);
    return { handle, path, filled, fill };
  } catch (error) {
    await handle.close();
    if (error instanceof ForeignFileError) return undefined;
    throw error;
  }
}
