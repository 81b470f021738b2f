import { randomUUID } from 'node:crypto';
import type { Dirent, Stats } from 'node:fs';
import { lstat, mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDigest, splitDigest, type Algorithm, type Digest } from '../../oci/digest.ts';

const CONTENT: ReadonlySet<string> = new Set(['blobs', 'ingest', 'quarantine']);
/** A catalog of a million blobs has some hundred files. */
const MAX_OTHERS = 10_000;

/** Folders of files that are not held as blobs. */
export type Aside = 'ingest' | 'quarantine';

/**
 * Where the files of a store lie: `blobs/<algorithm>/<first two digits>/<hex>` is complete and
 * verified, `ingest/<algorithm>-<hex>@<upstream>` on its way from there,
 * `quarantine/<algorithm>-<hex>` was found damaged.
 */
export class Folders {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async create(): Promise<void> {
    for (const folder of CONTENT) {
      await mkdir(join(this.#path, folder), { recursive: true });
    }
  }

  blobPath(digest: Digest): string {
    const { algorithm, encoded } = splitDigest(digest);
    return join(this.#path, 'blobs', algorithm, encoded.slice(0, 2), encoded);
  }

  asidePath(folder: Aside, name: string): string {
    return join(this.#path, folder, name);
  }

  /** `undefined` when there is no such file. */
  async stat(path: string): Promise<Stats | undefined> {
    try {
      return await stat(path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Whether the disk takes a small file. */
  async canWrite(): Promise<boolean> {
    const path = join(this.#path, 'ingest', `.${randomUUID()}`);
    try {
      await writeFile(path, 'whether this can be written');
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

  /** Bytes of the files beside those folders: catalog, journal, and what is none of ours. */
  async otherBytes(): Promise<number> {
    let [bytes, seen] = [0, 0];
    const folders = [this.#path];
    for (const folder of folders) {
      for (const entry of await entriesOf(folder)) {
        if (folder === this.#path && CONTENT.has(entry.name)) continue;
        // What somebody else keeps here may be of any size; its rest is only found by the disk's floor.
        if ((seen += 1) > MAX_OTHERS) return bytes;
        const path = join(folder, entry.name);
        if (entry.isDirectory()) folders.push(path);
        else bytes += (await lstat(path).catch(() => undefined))?.size ?? 0;
      }
    }
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
   * Removes what a killed process was writing in one go. Only while no other process has the
   * store; partial blobs stay, for a later ingest to resume.
   */
  async sweep(): Promise<void> {
    const ingests = join(this.#path, 'ingest');
    for (const name of await readdir(ingests)) {
      if (/^[^@]*\./.test(name)) await rm(join(ingests, name), { force: true });
    }
  }

  /** The blobs of one folder in byte order, and how many other names it has. */
  async listShard(
    algorithm: Algorithm,
    shard: string,
  ): Promise<{ digests: Digest[]; foreign: number }> {
    const entries = await entriesOf(join(this.#path, 'blobs', algorithm, shard));
    const digests = entries
      .filter((entry) => entry.isFile() && entry.name.startsWith(shard))
      .map(({ name }) => `${algorithm}:${name}`)
      .filter((name) => isDigest(name))
      .toSorted();
    return { digests, foreign: entries.length - digests.length };
  }

  /** How many names above the blobs are no folders of blobs. */
  async countForeign(): Promise<number> {
    const root = join(this.#path, 'blobs');
    let foreign = 0;
    for (const { name } of await entriesOf(root)) {
      const shards = isAlgorithm(name) ? await entriesOf(join(root, name)) : undefined;
      const strange = shards?.filter((shard) => !/^[0-9a-f]{2}$/.test(shard.name)).length;
      foreign += strange ?? 1;
    }
    return foreign;
  }

  /** What is on its way or was found damaged. Times in milliseconds. */
  async *listAside(
    folder: Aside,
  ): AsyncIterable<{ name: string; size: number; modifiedAt: number; changedAt: number }> {
    for (const { name } of await entriesOf(join(this.#path, folder))) {
      const found = await this.stat(join(this.#path, folder, name));
      if (!found?.isFile()) continue;
      yield { name, size: found.size, modifiedAt: found.mtimeMs, changedAt: found.ctimeMs };
    }
  }

  async removeAside(folder: Aside, name: string): Promise<void> {
    await rm(join(this.#path, folder, name), { force: true });
  }
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

function isAlgorithm(name: string): name is Algorithm {
  return name === 'sha256' || name === 'sha512';
}

async function foldersOf(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
