import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import PQueue from 'p-queue';
import { readAll } from '../../oci/content.ts';
import { type Algorithm, type Digest, IntegrityError } from '../../oci/digest.ts';
import { Arrival } from './arrival.ts';
import { AsideFiles } from './aside-files.ts';
import { Examinations } from './examinations.ts';
import { asideName, Folders } from './folders.ts';
import { Ingest, type FinalPlace } from './ingest.ts';
import { Pieces } from './pieces.ts';
import { noCrashPoint, ReadOnlyError, type CrashPoint } from '../faults.ts';
import { StoredBlob, type StoredBlobParts, OpenFiles } from './stored-blob.ts';

export type { Aside } from './folders.ts';
export type { Arrival } from './arrival.ts';
export type { Ingest } from './ingest.ts';
export type { Pieces } from './pieces.ts';
export { StoredBlob } from './stored-blob.ts';

export interface BlobStoreConfig {
  readonly path: string;
  readonly durability: 'full' | 'rename';
  readonly step?: CrashPoint;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Told of what reading all of a file that was not trusted has shown. */
export interface Verification {
  /** Its bytes are right, and this is its change time, milliseconds. */
  readonly verified?: (changedAt: number) => Promise<void>;
  /** They are not, or the disk does not give them; it is in quarantine by now. */
  readonly damaged?: () => Promise<void>;
}

const MAX_LOST = 10_000;

/** What the catalog knows of a file, to judge it by. */
export interface Expected {
  /** Bytes. */
  readonly size: number;
  /** The file's change time when its bytes were last known to be right, milliseconds. */
  readonly changedAt?: number;
}

/**
 * Content-addressed files. One is found under its digest only after that was checked, so its name
 * can be trusted without a catalog, until something other than this process touches it.
 */
export class BlobStore {
  readonly folders: Folders;
  readonly aside: AsideFiles;
  readonly openFiles = new OpenFiles();
  /** What is held is read, and nothing is kept. */
  isReadOnly = false;
  readonly #path: string;
  readonly #durability: 'full' | 'rename';
  readonly #step: CrashPoint;
  /** One quarantine at a time: what a second one means to move may have been replaced. */
  readonly #queue = new PQueue({ concurrency: 1 });
  readonly #examinations = new Examinations();
  /** What was here since the start, and why it is no more; the last ones. */
  readonly #lost = new Map<Digest, 'evicted' | 'damaged'>();
  /** Files that are being removed, and when they are. */
  readonly #going = new Map<Digest, Promise<unknown>>();
  /** Damaged files that could not be moved away, by their change time. */
  readonly #condemned = new Map<Digest, number>();

  static async open(config: BlobStoreConfig): Promise<BlobStore> {
    const store = new BlobStore(config);
    await store.folders.create();
    return store;
  }

  /** Only while no other process has the store: removes what a killed one wrote, counts what it left. */
  async takeOver(): Promise<void> {
    if (!this.isReadOnly) await this.folders.sweep();
    await this.aside.measure();
  }

  /** Puts into quarantine what is of no use at its place. */
  async putAside(path: string, name: string): Promise<void> {
    await this.folders.requireOwn('quarantine');
    const to = this.folders.asidePath('quarantine', name);
    await replace(path, to);
    this.aside.add('quarantine', name, { bytes: await this.folders.sizeOf(to) });
  }

  constructor(config: BlobStoreConfig) {
    this.folders = new Folders(config.path);
    this.aside = new AsideFiles(this.folders, config.now ?? Date.now);
    this.#path = config.path;
    this.#durability = config.durability;
    this.#step = config.step ?? noCrashPoint;
  }

  /** Why it is not here any more, of the last 10,000 since the start. */
  whyLost(digest: Digest): 'evicted' | 'damaged' | undefined {
    return this.#lost.get(digest);
  }

  #lose(digest: Digest, why: 'evicted' | 'damaged'): void {
    this.#lost.delete(digest);
    this.#lost.set(digest, why);
    const [first] = this.#lost.size > MAX_LOST ? this.#lost.keys() : [];
    if (first !== undefined) this.#lost.delete(first);
  }

  /**
   * `undefined` when it is not held. A file of another length than expected is damaged and goes
   * into quarantine, so that it can be fetched anew. One that was touched since the expected change
   * time, or of which nothing is known, is verified while it is read; see `StoredBlob.open`.
   */
  async find(
    digest: Digest,
    expected?: Expected,
    told: Verification = {},
  ): Promise<StoredBlob | undefined> {
    const path = this.folders.blobPath(digest);
    const found = this.#going.has(digest) ? undefined : await this.folders.stat(path);
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
      trust: trustIn(ctimeMs, expected?.changedAt),
      examine: (blob) => this.#examinations.add(blob),
      judged: async (isRight) => {
        if (isRight) return told.verified?.(ctimeMs);
        // Of several who read it, the first one tells; by now another file may stand there.
        if (await this.quarantine(digest, found)) await told.damaged?.();
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

  /** While what is found damaged can still be recorded. */
  async close(): Promise<void> {
    await this.#examinations.close();
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

  /**
   * What earlier ingests of the digest from this upstream left is gone on with; what another upstream
   * sent of it is another file. The caller sees to it that the two together have one ingest at a time.
   */
  async ingest(digest: Digest, upstream: string): Promise<Ingest> {
    return this.#openIngest(digest, `@${encodeURIComponent(upstream)}`);
  }

  /** For bytes that get their name from what they turn out to be; what a kill leaves of it is swept. */
  async arrive(algorithm: Algorithm = 'sha256'): Promise<Arrival> {
    this.requireWritable();
    const name = `.${randomUUID()}`;
    await this.folders.requireOwn('ingest');
    const partial = this.folders.asidePath('ingest', name);
    return Arrival.open(algorithm, {
      partial,
      claim: await this.aside.claim(name),
      finalPlace: async (digest) => this.#finalPlace(digest, partial),
    });
  }

  async #openIngest(digest: Digest, suffix: string): Promise<Ingest> {
    this.requireWritable();
    const name = asideName(`${digest}${suffix}`);
    const place = await this.#finalPlace(digest, this.folders.asidePath('ingest', name));
    await this.folders.requireOwn('ingest');
    const claim = await this.aside.claim(name);
    const putAside = async (path: string) => this.putAside(path, name);
    return Ingest.open(digest, { ...place, claim, putAside, openFiles: this.openFiles });
  }

  async #finalPlace(digest: Digest, partial: string): Promise<FinalPlace> {
    // A removal under way would take the new file with the old one.
    await this.#going.get(digest);
    return {
      partial,
      final: this.folders.blobPath(digest),
      createFolder: async () => this.folders.createFor(digest),
      durability: this.#durability,
      step: this.#step,
    };
  }

  /** For a blob that comes in pieces; `ingest` with the same owner verifies and keeps it, after `close`. */
  async pieces(digest: Digest, owner: string): Promise<Pieces> {
    this.requireWritable();
    const name = asideName(`${digest}@${encodeURIComponent(owner)}`);
    await this.folders.requireOwn('ingest');
    const partial = this.folders.asidePath('ingest', name);
    const claim = await this.aside.claim(name);
    const isSynced = this.#durability === 'full';
    const length = (await this.folders.stat(partial))?.size ?? 0;
    return new Pieces({ digest, partial, claim, isSynced, openFiles: this.openFiles }, length);
  }

  /** Throws `ReadOnlyError` when nothing is kept or removed in this run. */
  requireWritable(): void {
    if (this.isReadOnly) throw new ReadOnlyError(this.#path);
  }

  /** Keeps a blob from being removed between its file, or a look at it, and its record. */
  lease(digest: Digest): Disposable {
    return this.openFiles.lease(digest);
  }

  /** Whether it is being read or written. */
  isBusy(digest: Digest): boolean {
    return this.openFiles.isOpen(digest);
  }

  /**
   * Puts a damaged file where it is not found, for whoever wants to know what happened to it. False
   * when it was there no more; another file than the given one stays.
   */
  async quarantine(digest: Digest, damaged?: Stats): Promise<boolean> {
    return this.#queue.add(async () => {
      const path = this.folders.blobPath(digest);
      const found = await this.folders.stat(path).catch(() => undefined);
      if (!found || (damaged && found.ino !== damaged.ino)) return false;
      if (this.#condemned.get(digest) === found.ctimeMs) return false;
      try {
        const name = asideName(digest);
        await this.folders.requireOwn('quarantine');
        await replace(path, this.folders.asidePath('quarantine', name));
        this.aside.add('quarantine', name, { bytes: found.size });
      } catch {
        // A disk that takes no writes any more: at least it is not served.
        this.#condemned.set(digest, found.ctimeMs);
      }
      this.#lose(digest, 'damaged');
      return true;
    });
  }

  /**
   * Removes the file unless it turns out to be recorded; false when it stays. The caller has seen in
   * the same turn that it is not busy: from then on nobody finds it or writes it anew before its end.
   */
  async delete(digest: Digest, isRecorded = async () => false): Promise<boolean> {
    const going = this.#remove(digest, isRecorded);
    this.#going.set(
      digest,
      going.catch(() => undefined),
    );
    try {
      return await going;
    } finally {
      this.#going.delete(digest);
    }
  }

  async #remove(digest: Digest, isRecorded: () => Promise<boolean>): Promise<boolean> {
    if (await isRecorded()) return false;
    const path = this.folders.blobPath(digest);
    if (await this.folders.stat(path)) await rm(path, { force: true });
    this.#lose(digest, 'evicted');
    return true;
  }

  /** Without reading it; `undefined` when there is no such file, or it is being removed. */
  async statBlob(digest: Digest): Promise<{ size: number; modifiedAt: number } | undefined> {
    if (this.#going.has(digest)) return undefined;
    const found = await this.folders.stat(this.folders.blobPath(digest));
    return found?.isFile()
      ? { size: found.size, modifiedAt: Math.round(found.mtimeMs) }
      : undefined;
  }
}

function trustIn(changedAt: number, known: number | undefined): StoredBlobParts['trust'] {
  if (known === undefined) return 'unknown';
  return known === changedAt ? 'trusted' : 'touched';
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
