import { constants } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '../observe/log.ts';
import { isFull, isRefused } from './faults.ts';
import type { BlobStore } from './files/blob-store.ts';
import { isOwnFolder } from './own-file.ts';
import { tighten, tightenBelow } from './tighten.ts';

/** Bytes of partial and damaged files that give way to the opening of a database on a full disk. */
const OPENING_BYTES = 16 * 1024 * 1024;

/**
 * Makes a folder for the store, of its own user alone. False when it can only be read; then there is
 * something to serve. Throws when there is nothing, or something else stands in its place.
 */
export async function preparePlace(path: string, blobs: BlobStore): Promise<boolean> {
  try {
    await blobs.folders.create();
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    if (!isRefused(error) || !(await isOwnFolder(join(path, 'blobs')))) throw error;
    return false;
  }
  await tighten(path);
  return true;
}

/**
 * Opens the catalog in the store. On a full disk partial and damaged files go for it; where it cannot
 * be written even so, a copy is opened in a folder of its own, which the caller removes at the end.
 */
export async function openInPlace<Opened>(
  { path, blobs, log }: { path: string; blobs: BlobStore; log: Log },
  open: (root: string) => Promise<Opened>,
): Promise<{ catalog: Opened; root: string }> {
  for (let attempt = 1; !blobs.isReadOnly; attempt += 1) {
    try {
      const catalog = await open(path);
      // LevelDB makes files by the mask of the process.
      await tightenBelow([join(path, 'catalog')]);
      return { catalog, root: path };
    } catch (err) {
      if (!isFull(err)) throw err;
      log.error({ err }, 'the disk is full: the catalog does not open in its place');
      await blobs.aside.measure();
      const isHelped = attempt === 1 && (await blobs.aside.shed(OPENING_BYTES)).files > 0;
      blobs.isReadOnly = !isHelped;
    }
  }
  const root = await copyCatalog(path);
  try {
    return { catalog: await open(root), root };
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
}

/** Of a database that another process writes the copy may be damaged; then it is made anew. */
async function copyCatalog(path: string): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'entrepot-catalog-'));
  const from = join(path, 'catalog');
  if (!(await isOwnFolder(from))) return root;
  await mkdir(join(root, 'catalog'));
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    await copyFile(join(from, entry.name), join(root, 'catalog', entry.name));
  }
  return root;
}
