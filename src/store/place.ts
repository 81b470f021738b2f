import { constants } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import type { Log } from '../observe/log.ts';
import type { LevelCatalog } from './catalog/level-catalog.ts';
import { Tables } from './catalog/tables.ts';
import { isFull, isRefused } from './faults.ts';
import type { BlobStore } from './files/blob-store.ts';
import { isOwnFolder } from './files/own-file.ts';
import { tighten } from './files/tighten.ts';

/** Bytes of partial and damaged files that give way to the opening of a database on a full disk. */
const OPENING_BYTES = 16 * 1024 * 1024;

export interface Opened {
  readonly catalog: LevelCatalog;
  /** The folder of catalog and journal: the store's, or one for this run alone. */
  readonly root: string;
}

/**
 * Makes a folder for the store, of its own user alone. False when it can only be read; then there is
 * something to serve. Throws when there is nothing, or something else stands in its place.
 */
export async function preparePlace(path: string, blobs: BlobStore): Promise<boolean> {
  // What this process makes is for its user alone: LevelDB makes files by the process's mask.
  if (isMainThread) process.umask(0o077);
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
 * Opens the catalog in the store. On a full disk what was set aside for that is used, then partial
 * and damaged files go for it; where it cannot be written even so, a copy is opened in a folder of
 * its own, which the caller removes at the end.
 */
export async function openInPlace(
  { path, blobs, log }: { path: string; blobs: BlobStore; log: Log },
  open: (root: string) => Promise<LevelCatalog>,
): Promise<Opened> {
  const remedies = [
    async () => Tables.useReserve(join(path, 'catalog')),
    async () => {
      await blobs.aside.measure();
      return (await blobs.aside.shed(OPENING_BYTES)).files > 0;
    },
  ];
  for (;;) {
    try {
      if (blobs.isReadOnly) break;
      return { catalog: await open(path), root: path };
    } catch (err) {
      if (!isFull(err)) throw err;
      log.error({ err }, 'the disk is full: what was set aside is used to open the catalog');
      let isHelped = false;
      while (!isHelped && remedies.length > 0) isHelped = await remedies.shift()!();
      if (!isHelped) break;
    }
  }
  blobs.isReadOnly = true;
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
  const root = await mkdtemp(join(tmpdir(), 'entrepot-'));
  const from = join(path, 'catalog');
  if (!(await isOwnFolder(from))) return root;
  await mkdir(join(root, 'catalog'));
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    await copyFile(join(from, entry.name), join(root, 'catalog', entry.name));
  }
  return root;
}
