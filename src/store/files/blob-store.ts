import { randomUUID } from 'node:crypto';
import type { Dirent, Stats } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { readAll } from '../../oci/content.ts';
import { isDigest, splitDigest, type Algorithm, type Digest } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import { Ingest } from './ingest.ts';
import { OpenFiles } from './open-files.ts';
import { noStep, type Step } from '../step.ts';
import { StoredBlob } from './stored-blob.ts';

export interface BlobStoreConfig {
  readonly path: string;
  readonly durability: 'full' | 'rename';
  readonly step?: Step;
}

/** Where files lie that are no held blobs. */
export type Aside = 'ingest' | 'quarantine';

/** Told of what reading all of a file that was not trusted has shown. */
export interface Verdicts {
  /** Its bytes are right, and this is its change time, milliseconds. */
  readonly verified?: (changedAt: number) => Promise<void>;
  /** They are not, or the disk does not give them; it is in quarantine by now. */
  readonly damaged?: () => Promise<void>;
}

/** What the catalog knows of a file, to judge it by. */
export interface Expected {
  /** Bytes. */
  readonly size: number;
  /** The file's change time when its bytes were last known to be right, milliseconds. */
  readonly changedAt?: number;
}

/**
 * Content-addressed files: `blobs/<algorithm>/<first two digits>/<hex>` holds what is complete and
 * verified, `ingest/<algorithm>-<hex>` what is on its way, `quarantine/<algorithm>-<hex>` what was
 * found damaged. A file under `blobs` is there only after its digest was checked, so its name can
 * be trusted without a catalog, until something other than this process touches it.
 */
export class BlobStore {
  readonly openFiles = new OpenFiles();
  readonly #path: string;
  readonly #durability: 'full' | 'rename';
  readonly #step: Step;
  /** One quarantine at a time: what a second one means to move may have been replaced. */
  readonly #queue = new PQueue({ concurrency: 1 });
  /** Files that are being removed. */
  readonly #going = new Set<Digest>();
  /** Damaged files that could not be moved away, by their change time. */
  readonly #condemned = new Map<Digest, number>();

  static async open(config: BlobStoreConfig): Promise<BlobStore> {
    for (const folder of ['blobs', 'ingest', 'quarantine']) {
      await mkdir(join(config.path, folder), { recursive: true });
    }
    return new BlobStore(config);
  }

  constructor(config: BlobStoreConfig) {
    this.#path = config.path;
    this.#durability = config.durability;
    this.#step = config.step ?? noStep;
  }

  /**
   * `undefined` when it is not held. A file of another length than expected is damaged and goes
   * into quarantine, so that it can be fetched anew. One that was touched since the expected change
   * time, or of which nothing is known, is verified while it is read.
   */
  async find(
    digest: Digest,
    expected?: Expected,
    verdicts: Verdicts = {},
  ): Promise<StoredBlob | undefined> {
    const path = this.#blobPath(digest);
    const found = this.#going.has(digest) ? undefined : await statFile(path);
    if (!found || this.#condemned.get(digest) === found.ctimeMs) return undefined;
    const { size, ctimeMs } = found;
    if (!found.isFile() || (expected && size !== expected.size)) {
      await this.quarantine(digest, found);
      return undefined;
    }
    return new StoredBlob({
      digest,
      size,
      path,
      openFiles: this.openFiles,
      isTrusted: expected?.changedAt === ctimeMs,
      judged: async (isRight) => {
        if (isRight) return verdicts.verified?.(ctimeMs);
        // Of several who read it, the first one tells; by now another file may stand there.
        if (await this.quarantine(digest, found)) await verdicts.damaged?.();
      },
    });
  }

  /** A small blob's verified bytes. A damaged one goes into quarantine and counts as not held. */
  async readBytes(digest: Digest): Promise<Buffer | undefined> {
    const blob = await this.find(digest);
    if (!blob) return undefined;
    try {
      const reader = await blob.open();
      try {
        return await readAll(reader, blob.size);
      } finally {
        await reader.close();
      }
    } catch (error) {
      if (error instanceof IntegrityError || isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Keeps a small blob. Throws {@link IntegrityError} when the bytes are not the digest's. */
  async writeBytes(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (await this.find(digest, { size: bytes.length })) return;
    // A name of its own: the same bytes may be on their way through another repository as well.
    const ingest = await this.#openIngest(digest, `.${randomUUID()}`);
    try {
      await ingest.append(bytes);
      await ingest.verify(bytes.length);
      await ingest.commit();
    } catch (error) {
      await ingest.abort({ keep: false });
      throw error;
    }
  }

  /** The caller sees to it that a digest has one ingest at a time. */
  async ingest(digest: Digest): Promise<Ingest> {
    return this.#openIngest(digest, '');
  }

  async #openIngest(digest: Digest, suffix: string): Promise<Ingest> {
    return Ingest.open(digest, {
      partial: join(this.#path, 'ingest', `${fileName(digest)}${suffix}`),
      final: this.#blobPath(digest),
      durability: this.#durability,
      openFiles: this.openFiles,
      step: this.#step,
    });
  }

  /** Keeps a blob from being removed between a look at its file and its record. */
  lease(digest: Digest): Disposable {
    this.openFiles.lease(digest);
    return { [Symbol.dispose]: () => this.openFiles.endLease(digest) };
  }

  /** Whether it is being read or written. */
  isBusy(digest: Digest): boolean {
    return this.openFiles.isOpen(digest);
  }

  /**
   * Puts a damaged file where it is not found, for whoever wants to know what happened to it. False
   * when it is gone already; another file than the given one stays.
   */
  async quarantine(digest: Digest, damaged?: Stats): Promise<boolean> {
    return this.#queue.add(async () => {
      const path = this.#blobPath(digest);
      const found = await statFile(path).catch(() => undefined);
      if (!found || (damaged && found.ino !== damaged.ino)) return false;
      if (this.#condemned.get(digest) === found.ctimeMs) return false;
      try {
        await replace(path, join(this.#path, 'quarantine', fileName(digest)));
      } catch {
        // A disk that takes no writes any more: at least it is not served.
        this.#condemned.set(digest, found.ctimeMs);
      }
      return true;
    });
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

  /** From its call on the blob is not found. The caller has seen that it is not busy. */
  async delete(digest: Digest): Promise<void> {
    this.#going.add(digest);
    try {
      await rm(this.#blobPath(digest), { force: true });
    } finally {
      this.#going.delete(digest);
    }
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
   * store; partial blobs stay, to be gone on with.
   */
  async sweep(): Promise<void> {
    const ingests = join(this.#path, 'ingest');
    for (const name of await readdir(ingests)) {
      if (name.includes('.')) await rm(join(ingests, name), { force: true });
    }
  }

  /** Without reading it; `undefined` when there is no such file. */
  async statBlob(digest: Digest): Promise<{ size: number; modifiedAt: number } | undefined> {
    const found = await statFile(this.#blobPath(digest));
    return found?.isFile()
      ? { size: found.size, modifiedAt: Math.round(found.mtimeMs) }
      : undefined;
  }

  /** The blobs of one folder in byte order, and how many names there are none of ours. */
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

  /** Names above the blobs that are none of ours. */
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
      const found = await statFile(join(this.#path, folder, name));
      if (!found?.isFile()) continue;
      yield { name, size: found.size, modifiedAt: found.mtimeMs, changedAt: found.ctimeMs };
    }
  }

  async removeAside(folder: Aside, name: string): Promise<void> {
    await rm(join(this.#path, folder, name), { force: true });
  }

  #blobPath(digest: Digest): string {
    const { algorithm, encoded } = splitDigest(digest);
    return join(this.#path, 'blobs', algorithm, encoded.slice(0, 2), encoded);
  }
}

/** As in a folder that holds few of them. */
function fileName(digest: Digest): string {
  return digest.replace(':', '-');
}

async function statFile(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Also where one of the two is a folder. */
async function replace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (isMissing(error)) throw error;
    await rm(to, { recursive: true, force: true });
    await rename(from, to);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

/** None of a folder that is not there. */
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
