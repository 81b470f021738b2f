import { randomUUID } from 'node:crypto';
import type { Dirent, Stats } from 'node:fs';
import {
  chmod,
  lstat,
  lutimes,
  mkdir,
  opendir,
  readdir,
  realpath,
  rm,
  statfs,
} from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import {
  isAlgorithm,
  isDigest,
  splitDigest,
  type Algorithm,
  type Digest,
} from '../../oci/digest.ts';
import { FOLDER_MODE, ForeignFileError, isOwnFolder, look, writeOwn } from '../own-file.ts';
import { FillMap } from './fill-map.ts';

const CONTENT: ReadonlySet<string> = new Set(['blobs', 'ingest', 'quarantine']);

/** Folders of files that are not held as blobs. */
export type Aside = 'ingest' | 'quarantine';

/**
 * Where the files of a store lie: `blobs/<algorithm>/<first two digits>/<hex>` is complete and
 * verified, `ingest/<algorithm>-<hex>@<upstream>` on its way from there, with `+sparse` behind it and a
 * second file with `+map` where it has holes, `quarantine/<algorithm>-<hex>` was found damaged, with
 * `@<upstream>` where that has sent the bytes and nobody had verified them before.
 */
export class Folders {
  readonly #path: string;
  /** Where the store's path led when it was last looked at. */
  #realPath: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Makes what is missing. Throws `ForeignFileError` when one of the folders is none of the store's;
   * the store's own path may be a link.
   */
  async create(): Promise<void> {
    await makeFolders(this.#path);
    for (const folder of CONTENT) await makeFolder(join(this.#path, folder));
  }

  /**
   * Makes the folder of a blob. Resolves with the highest one that was missing. Throws
   * `ForeignFileError` when a link stands in the place of one.
   */
  async createFor(digest: Digest): Promise<string | undefined> {
    const shard = dirname(this.blobPath(digest));
    const algorithm = dirname(shard);
    const made: string[] = [];
    for (const folder of [dirname(algorithm), algorithm, shard]) {
      if (await makeFolder(folder)) made.push(folder);
    }
    return made[0];
  }

  blobPath(digest: Digest): string {
    const { algorithm, encoded } = splitDigest(digest);
    return join(this.#path, 'blobs', algorithm, encoded.slice(0, 2), encoded);
  }

  asidePath(folder: Aside, name: string): string {
    return join(this.#path, folder, name);
  }

  /**
   * `undefined` when there is no such file, or a link stands in the place of a folder above it. A link
   * in the place of the file itself is told as one.
   */
  async stat(path: string): Promise<Stats | undefined> {
    const [found, isOwn] = await Promise.all([look(path), this.#isOwn(dirname(path))]);
    return isOwn ? found : undefined;
  }

  /** Throws `ForeignFileError` when a link stands in the place of the folder. */
  async requireOwn(folder: Aside): Promise<void> {
    const path = join(this.#path, folder);
    if (!(await this.#isOwn(path))) throw new ForeignFileError(path);
  }

  /** Whether no link stands in the place of this folder, or of one between it and the store's path. */
  async #isOwn(folder: string): Promise<boolean> {
    const real = await realpath(folder).catch((error: NodeJS.ErrnoException) => {
      if (ABSENT.has(error.code ?? '') || error.code === 'ELOOP') return undefined;
      throw error;
    });
    if (real === undefined) return false;
    const below = relative(this.#path, folder);
    if (this.#realPath !== undefined && real === join(this.#realPath, below)) return true;
    // The path may lead elsewhere by now.
    this.#realPath = await realpath(this.#path);
    return real === join(this.#realPath, below);
  }

  /** Whether the disk takes a small file. */
  async canWrite(): Promise<boolean> {
    const path = join(this.#path, 'ingest', `.${randomUUID()}`);
    try {
      await writeOwn(path, 'whether this can be written');
      return true;
    } catch {
      return false;
    } finally {
      await rm(path, { force: true }).catch(() => undefined);
    }
  }

  /** Bytes that the disk would still take; `undefined` where it does not say. */
  async freeBytes(): Promise<number | undefined> {
    const { bavail, bsize } = await statfs(this.#path);
    return bsize > 0 ? bavail * bsize : undefined;
  }

  /** Sizes of the files beside those folders: catalog, journal, and what is none of ours. */
  async *otherSizes(): AsyncGenerator<number> {
    for (const { name } of await entriesOf(this.#path)) {
      if (!CONTENT.has(name)) yield* sizesBelow(join(this.#path, name));
    }
  }

  /** Of a file, or of all files in a folder; what is linked does not count. */
  async sizeOf(path: string): Promise<number> {
    let bytes = 0;
    for await (const size of sizesBelow(path)) bytes += size;
    return bytes;
  }

  /** Every committed blob, in no order. */
  async *list(): AsyncIterable<Digest> {
    const root = join(this.#path, 'blobs');
    for (const algorithm of await foldersOf(root)) {
      for (const shard of await foldersOf(join(root, algorithm))) {
        for (const encoded of await readdir(join(root, algorithm, shard))) {
          const digest = `${algorithm}:${encoded}`;
          if (isDigest(digest)) yield digest;
        }
      }
    }
  }

  /**
   * Removes what a killed process was writing in one go, and what is left of a partial file with holes
   * or its map without the other. Only while no other process has the store; partial blobs stay, for a
   * later ingest to resume.
   */
  async sweep(): Promise<void> {
    const ingests = join(this.#path, 'ingest');
    const names = new Set(await readdir(ingests));
    const isLeft = (name: string): boolean => {
      if (/^[^@]*\.|\+map\.new$/.test(name)) return true;
      const partial = partialOf(name);
      const isSpread = names.has(sparseOf(partial)) && names.has(mapOf(partial));
      return isSpread ? name === partial : name !== partial;
    };
    for (const name of names) {
      if (isLeft(name)) await rm(join(ingests, name), { force: true });
    }
  }

  /** The blobs of one folder in byte order, and the paths of what else lies there. */
  async listShard(
    algorithm: Algorithm,
    shard: string,
  ): Promise<{ digests: Digest[]; foreign: string[] }> {
    const folder = join(this.#path, 'blobs', algorithm, shard);
    const entries = (await this.#isOwn(folder)) ? await entriesOf(folder) : [];
    const isBlob = (entry: Dirent): boolean =>
      entry.isFile() && entry.name.startsWith(shard) && isDigest(`${algorithm}:${entry.name}`);
    const foreign = entries.filter((entry) => !isBlob(entry));
    const digests = entries
      .filter(isBlob)
      .map(({ name }) => `${algorithm}:${name}` as Digest)
      .toSorted();
    return { digests, foreign: foreign.map(({ name }) => join(folder, name)) };
  }

  /** What lies above the blobs and is no folder of blobs. */
  async listForeign(): Promise<string[]> {
    const root = join(this.#path, 'blobs');
    const foreign: string[] = [];
    for (const { name } of await entriesOf(root)) {
      const path = join(root, name);
      if (!isAlgorithm(name)) foreign.push(path);
      else {
        const strange = (await entriesOf(path)).filter(({ name: shard }) => !SHARD.test(shard));
        foreign.push(...strange.map((entry) => join(path, entry.name)));
      }
    }
    return foreign;
  }

  /** What is on its way or was found damaged. Times in milliseconds. */
  async *listAside(folder: Aside): AsyncIterable<{
    name: string;
    /** Without its holes. */
    size: number;
    isSparse: boolean;
    modifiedAt: number;
    changedAt: number;
  }> {
    if (!(await this.#isOwn(join(this.#path, folder)))) return;
    for (const { name } of await entriesOf(join(this.#path, folder))) {
      const path = join(this.#path, folder, name);
      const found = await lstat(path).catch(() => undefined);
      if (!found || (folder === 'ingest' && isMap(name))) continue;
      const isSparse = folder === 'ingest' && name !== partialOf(name);
      const size = isSparse
        ? await heldOf(path, found.ino)
        : found.isDirectory()
          ? await this.sizeOf(path)
          : found.size;
      const times = { modifiedAt: found.mtimeMs, changedAt: found.ctimeMs };
      yield { name: isSparse ? partialOf(name) : name, size, isSparse, ...times };
    }
  }

  /** A disk that refuses it leaves the time as it is. */
  async stampAside(folder: Aside, name: string, time: number): Promise<void> {
    for (const path of this.#asideFiles(folder, name)) {
      await lutimes(path, time / 1000, time / 1000).catch(() => undefined);
    }
  }

  async removeAside(folder: Aside, name: string): Promise<void> {
    await this.requireOwn(folder);
    for (const path of this.#asideFiles(folder, name)) {
      await rm(path, { force: true, recursive: true });
    }
  }

  /** A partial file is one of these. */
  #asideFiles(folder: Aside, name: string): string[] {
    const path = join(this.#path, folder, name);
    return folder === 'ingest' ? [mapOf(path), sparseOf(path), path] : [path];
  }
}

const SHARD = /^[0-9a-f]{2}$/;

/**
 * Of a file, or of each file in a folder, however many there are. Folders are read in pieces, and the
 * names of those that are still to be read are all that is in memory.
 */
async function* sizesBelow(path: string): AsyncGenerator<number> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isDirectory()) {
    if (found) yield found.size;
    return;
  }
  const folders = [path];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    // It may be gone by now, or be none that this process may read.
    const entries = await opendir(folder).catch(() => []);
    for await (const entry of entries) {
      const below = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(below);
      else yield (await lstat(below).catch(() => undefined))?.size ?? 0;
    }
  }
}

/** What says that a path leads nowhere. */
const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);

/** With those above it. By hand: of a disk that cannot be written `recursive` says that it is missing. */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path, FOLDER_MODE);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT') throw error;
    await makeFolders(dirname(path));
    await mkdir(path, FOLDER_MODE);
  }
}

/** Whether it was missing. Throws `ForeignFileError` when something else stands there. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, FOLDER_MODE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!(await isOwnFolder(path))) throw new ForeignFileError(path);
    return false;
  }
  // The process's mask may have taken more than it should.
  await chmod(path, FOLDER_MODE);
  return true;
}

/** The name of a partial file once it has holes: a program that knows none of those does not find it. */
export function sparseOf(partial: string): string {
  return `${partial}+sparse`;
}

/** The file that says what is there of a partial one with holes. */
export function mapOf(partial: string): string {
  return `${partial}+map`;
}

/** Bytes of a partial file with holes. */
async function heldOf(path: string, inode: number): Promise<number> {
  const partial = partialOf(path);
  const digest = basename(partial).replace('-', ':').replace(/@.*/, '') as Digest;
  return (await FillMap.read(mapOf(partial), { digest, inode }))?.filled.bytes ?? 0;
}

function isMap(name: string): boolean {
  return /\+map(?:\.new)?$/.test(name);
}

/** The name of the partial file without holes: a plus is in no name of an upstream. */
function partialOf(name: string): string {
  return name.replace(/\+(?:sparse|map)$/, '');
}

/** As a digest, and what follows it, is written where a colon may not be. */
export function asideName(digest: string): string {
  return digest.replace(':', '-');
}

/** Empty for a folder that is missing. */
async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

async function foldersOf(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
