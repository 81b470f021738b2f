import { constants } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { getuid, kill, pid } from 'node:process';
import type { Log } from '../observe/log.ts';
import { isFull, isRefused } from './faults.ts';
import type { BlobStore } from './files/blob-store.ts';
import { FILE_MODE, FOLDER_MODE, isOwnFolder, look } from './own-file.ts';
import { TEXTS } from './texts.ts';

/** What the store keeps beside each other; its path may hold other things too. */
const OWN =
  /^(?:blobs|ingest|quarantine|catalog(?:\..+)?|journal(?:\.new)?|format|(?:sync|bundles-made)\.json(?:\.new)?)$/;
const FILES_AT_ONCE = 16;

/** Bytes of partial and damaged files that give way to the opening of a database on a full disk. */
const OPENING_BYTES = 16 * 1024 * 1024;
/**
 * Most bytes of a catalog that are copied: that of 50,000 blobs, and as much as /dev/shm has in a
 * container. The tables of a larger one, which LevelDB never changes, are linked; what is left to copy
 * is what LevelDB keeps below 4 MiB, and a list of the tables.
 */
const COPIED_BYTES = 64 * 1024 * 1024;
/** Names of copies begin so; the number of their process follows, which counts on this machine alone. */
const COPY_OF_OURS = `entrepot-catalog-${hostname()}-`;
const TABLE = /\.(?:ldb|sst)$/;
const COPIED = /^(?:CURRENT|MANIFEST-\d+|\d+\.(?:log|ldb|sst))$/;

/**
 * Makes a folder for the store, of its own user alone. False when it can only be read, or lacks a
 * folder that a full disk does not take; then there is something to serve. Throws when there is nothing, or something else stands in its place.
 */
export async function preparePlace(path: string, blobs: BlobStore): Promise<boolean> {
  try {
    await blobs.folders.create();
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const isHeldBack = isRefused(error) || isFull(error);
    if (!isHeldBack || !(await isOwnFolder(join(path, 'blobs')))) throw error;
    return false;
  }
  await tighten(path);
  return true;
}

/**
 * Opens the catalog in the store. On a full disk partial and damaged files go for it; where it cannot
 * be written even so, a copy is opened in a folder of its own, which the caller removes at the end.
 * `isLinked`: parts of the copy are links into the store.
 */
export async function openInPlace<Opened>(
  { path, blobs, log }: { path: string; blobs: BlobStore; log: Log },
  open: (root: string, isLinked?: boolean) => Promise<Opened>,
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
  return openCopy({ path, log }, open);
}

/**
 * In the folder for temporary files or, where that is missing, full or read-only, in memory. Rejects
 * with what the first place said when there is none.
 */
async function openCopy<Opened>(
  { path, log }: { path: string; log: Log },
  open: (root: string, isLinked: boolean) => Promise<Opened>,
): Promise<{ catalog: Opened; root: string }> {
  const faults: unknown[] = [];
  for (const folder of [tmpdir(), '/dev/shm']) {
    await removeLeftCopies(folder);
    for (const mostBytes of [COPIED_BYTES, 0]) {
      let root: string | undefined;
      try {
        root = await mkdtemp(join(folder, `${COPY_OF_OURS}${pid}-`));
        made.add(root);
        const copied = await copyCatalog(join(path, 'catalog'), join(root, 'catalog'), mostBytes);
        const catalog = await open(root, copied.isLinked);
        log.info({ root, ...copied }, 'a copy of the catalog serves');
        return { catalog, root };
      } catch (err) {
        faults.push(err);
        log.warn({ err, folder, mostBytes }, 'a copy of the catalog does not open there');
        if (root !== undefined) await rm(root, { recursive: true, force: true });
      }
    }
  }
  throw faults[0];
}

/** The copies that this process made: a container gives all of its processes the same number. */
const made = new Set<string>();

/** Those of processes of this user and machine that were killed; what is not surely one stays. */
async function removeLeftCopies(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const owner = name.startsWith(COPY_OF_OURS) ? parseInt(name.slice(COPY_OF_OURS.length), 10) : 0;
    const path = join(folder, name);
    const isInUse = owner === pid ? made.has(path) : isRunning(owner);
    if (!(owner > 0) || isInUse) continue;
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isDirectory() || found.uid !== getuid?.()) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

function isRunning(owner: number): boolean {
  try {
    return kill(owner, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Of a database that another process writes the copy may be damaged; then it is made anew. */
async function copyCatalog(
  from: string,
  to: string,
  mostBytes: number,
): Promise<{ bytes: number; isLinked: boolean }> {
  if (!(await isOwnFolder(from))) return { bytes: 0, isLinked: false };
  await mkdir(to);
  const entries = await readdir(from, { withFileTypes: true });
  const names = entries
    .filter((one) => one.isFile() && COPIED.test(one.name))
    .map((one) => one.name);
  const sizes = await Promise.all(names.map(async (name) => (await lstat(join(from, name))).size));
  const isLinked = sizes.reduce((sum, size) => sum + size, 0) > mostBytes;
  let bytes = 0;
  for (const [n, name] of names.entries()) {
    if (isLinked && TABLE.test(name)) await symlink(resolve(from, name), join(to, name));
    else {
      bytes += sizes[n]!;
      if (bytes > COPIED_BYTES)
        throw new Error(TEXTS.tooLargeToCopy({ path: from, most: COPIED_BYTES }));
      await copyFile(join(from, name), join(to, name));
    }
  }
  return { bytes, isLinked };
}

/**
 * Takes what lies in a store from all users of the machine but its own: an earlier version left it to
 * the process's mask. The files are gone through when one of the folders was open; what is none of
 * ours is left alone, and what belongs to another user stays as it is.
 */
async function tighten(path: string): Promise<void> {
  const names = await readdir(path).catch((): string[] => []);
  const own = names.filter((name) => OWN.test(name));
  if (own.length === 0) return;
  await tightenRoot(path);
  // `format` is closed by whoever writes it, at the end: until then an opening goes through all again.
  const isOpen = await Promise.all(own.map(async (name) => isOpenToOthers(join(path, name))));
  if (!isOpen.includes(true)) return;
  await tightenBelow(own.filter((name) => name !== 'format').map((name) => join(path, name)));
}

/** Its path may be a mount that is not ours, or a folder that all use. */
async function tightenRoot(path: string): Promise<void> {
  const { mode, uid } = await stat(path);
  const isSticky = (mode & 0o1000) !== 0;
  if (isSticky || uid !== getuid?.() || (mode & 0o777) === FOLDER_MODE) return;
  await chmod(path, FOLDER_MODE).catch(() => undefined);
}

async function isOpenToOthers(path: string): Promise<boolean> {
  const found = await lstat(path);
  return (found.mode & 0o077) !== 0 && !found.isSymbolicLink();
}

/** From the top on, so that nobody can change what is about to be looked at. */
async function tightenBelow(paths: readonly string[]): Promise<void> {
  for (let start = 0; start < paths.length; start += FILES_AT_ONCE) {
    const group = paths.slice(start, start + FILES_AT_ONCE);
    const below = await Promise.all(group.map(async (path) => tightenOne(path)));
    for (const names of below) await tightenBelow(names);
  }
}

/** Resolves with what is in it; nothing where it is gone: LevelDB removes tables of a catalog that it has open. */
async function tightenOne(path: string): Promise<string[]> {
  const found = await look(path);
  if (!found) return [];
  const { mode, nlink } = found;
  const isFolder = found.isDirectory();
  // A file with a second name is somebody else's too.
  if (!isFolder && (!found.isFile() || nlink > 1)) return [];
  const wanted = isFolder ? FOLDER_MODE : FILE_MODE;
  // By its name: to open and close the file of a lock that this process holds would give the lock up.
  if ((mode & 0o777) !== wanted) await chmod(path, wanted).catch(() => undefined);
  return isFolder ? (await readdir(path)).map((name) => join(path, name)) : [];
}
