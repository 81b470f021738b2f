import { rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Digest, Digester, IntegrityError, splitDigest } from '../../oci/digest.ts';
import type { Claim } from './aside-files.ts';
import type { OpenFiles } from './stored-blob.ts';
import { ForeignFileError, openOwn, syncFolder } from '../own-file.ts';
import type { CrashPoint } from '../faults.ts';
import { TEXTS } from '../texts.ts';

/*
 * A blob on its way in: one writer, any number of readers by position.
 *
 *    writing ──verify──▶ verified ──commit──▶ committed
 *       │                    │
 *       └──────── abort ─────┴──▶ aborted, and the file kept for resumption or removed
 *
 * `append` and `reset` are legal while writing; `readAt` between `retain` and `release` in any
 * state, since the open file outlives its renaming and its removal. The file is named after the
 * digest and its owner, so a later ingest of both goes on where this one stopped.
 */

/** From where to where a file goes that was found right. */
export interface FinalPlace {
  readonly partial: string;
  readonly final: string;
  /** Makes the final folder; resolves with the highest one that was missing. */
  readonly createFolder: () => Promise<string | undefined>;
  readonly durability: 'full' | 'rename';
  readonly step: CrashPoint;
}

export interface IngestPlace extends FinalPlace {
  /** Of the partial file's name, which the ingest ends. */
  readonly claim: Claim;
  readonly openFiles: OpenFiles;
}

const READ_BACK_BYTES = 1024 * 1024;

export class Ingest {
  readonly digest: Digest;
  readonly #place: IngestPlace;
  readonly #handle: FileHandle;
  /** None where the writer proves the bytes. */
  #digester: Digester | undefined;
  #written: number;
  #caughtUp: Promise<void>;
  #holders = 1;
  #isWriting = true;

  /** Opens the partial file of an earlier ingest of this digest where there is one. */
  static async open(digest: Digest, place: IngestPlace): Promise<Ingest> {
    const handle = await openPartial(place);
    place.openFiles.add(digest);
    try {
      return new Ingest(digest, place, { handle, size: (await handle.stat()).size });
    } catch (error) {
      place.openFiles.remove(digest);
      place.claim.end({ isKept: true });
      await handle.close();
      throw error;
    }
  }

  constructor(digest: Digest, place: IngestPlace, file: { handle: FileHandle; size: number }) {
    this.digest = digest;
    this.#place = place;
    this.#handle = file.handle;
    this.#digester = new Digester(splitDigest(digest).algorithm);
    this.#written = file.size;
    place.claim.resize(file.size);
    this.#caughtUp = this.#hashWritten(file.size);
    // The next `append` or `verify` throws it.
    this.#caughtUp.catch(() => undefined);
  }

  /** Bytes on disk from the first on; all of them may be read. */
  get written(): number {
    return this.#written;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#caughtUp;
    let offset = 0;
    while (offset < chunk.length) {
      const position = this.#written + offset;
      const { bytesWritten } = await this.#handle.write(chunk, offset, undefined, position);
      offset += bytesWritten;
    }
    this.#digester?.update(chunk);
    this.#written += chunk.length;
    this.#place.claim.resize(this.#written);
  }

  /** The hash over all that is written, for a transfer that goes on from here. */
  async digester(): Promise<Digester> {
    await this.#caughtUp;
    return this.#hashed.copy();
  }

  /**
   * Forgets what was written. Only while no reader has seen it. `isProven`: the writer compares what comes
   * from now on with the digest and calls `verify` only where it is right, so that it is hashed once.
   */
  async reset({ isProven = false } = {}): Promise<void> {
    await this.#caughtUp.catch(() => undefined);
    await this.#handle.truncate(0);
    this.#written = 0;
    this.#place.claim.resize(0);
    const { algorithm } = splitDigest(this.digest);
    this.#digester = isProven ? undefined : new Digester(algorithm);
    this.#caughtUp = Promise.resolve();
  }

  /** Throws {@link IntegrityError} unless size and digest are right. Ends the writing. */
  async verify(expectedSize: number | undefined): Promise<void> {
    await this.#caughtUp;
    if (expectedSize !== undefined && expectedSize !== this.#written) {
      throw new IntegrityError(this.digest, {
        expected: TEXTS.size({ bytes: expectedSize }),
        actual: TEXTS.size({ bytes: this.#written }),
      });
    }
    const actual = this.#digester?.value() ?? this.digest;
    if (actual !== this.digest) {
      throw new IntegrityError(this.digest, { expected: this.digest, actual });
    }
  }

  /**
   * After `verify`. Once it resolves the blob is at its final place, with durability `full` even
   * after power loss, and the writer's hold on the file ends. Resolves
   * with the file's change time, milliseconds. When it rejects, `abort` is still to be called.
   */
  async commit(): Promise<number> {
    const changedAt = await moveIntoPlace(this.#handle, this.#place);
    await this.#endWriting({ isKept: false });
    this.#place.step('commit.done');
    return changedAt;
  }

  /** Ends the writing without a blob. The writer's hold on the file ends. */
  async abort({ keep }: { keep: boolean }): Promise<void> {
    const isKept = keep && this.#written > 0;
    try {
      await this.#caughtUp.catch(() => undefined);
      if (isKept) {
        // A failed write may have left part of a chunk behind the bytes that count.
        await this.#handle.truncate(this.#written);
      } else {
        await unlink(this.#place.partial).catch(ignoreMissing);
      }
    } finally {
      await this.#endWriting({ isKept });
    }
  }

  async readAt(buffer: Buffer, position: number): Promise<number> {
    const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, position);
    return bytesRead;
  }

  /** Keeps the file readable until the matching {@link release}; false when it is closed already. */
  retain(): boolean {
    if (this.#holders === 0) return false;
    this.#holders += 1;
    return true;
  }

  async release(): Promise<void> {
    this.#holders -= 1;
    if (this.#holders > 0) return;
    await this.#caughtUp.catch(() => undefined);
    this.#place.openFiles.remove(this.digest);
    await this.#handle.close();
  }

  async #endWriting({ isKept }: { isKept: boolean }): Promise<void> {
    if (!this.#isWriting) return;
    this.#isWriting = false;
    this.#place.claim.end({ isKept });
    await this.release();
  }

  get #hashed(): Digester {
    if (!this.#digester) throw new Error(`${this.#place.partial} is hashed by who writes it`);
    return this.#digester;
  }

  async #hashWritten(size: number): Promise<void> {
    if (size === 0) return;
    const buffer = Buffer.allocUnsafe(Math.min(size, READ_BACK_BYTES));
    for (let position = 0; position < size;) {
      const wanted = buffer.subarray(0, Math.min(buffer.length, size - position));
      const count = await this.readAt(wanted, position);
      if (count === 0)
        throw new Error(`${this.#place.partial} ended at ${position} of ${size} bytes`);
      this.#hashed.update(wanted.subarray(0, count));
      position += count;
    }
  }
}

/** Resolves with the file's change time, milliseconds, once its name is its digest. */
export async function moveIntoPlace(handle: FileHandle, place: FinalPlace): Promise<number> {
  const { partial, final, createFolder, durability, step } = place;
  const folder = dirname(final);
  step('commit.verified');
  if (durability === 'full') await handle.sync();
  step('commit.synced');
  const created = await createFolder();
  await rename(partial, final);
  step('commit.renamed');
  if (durability === 'full') {
    await syncFolder(folder);
    if (created !== undefined) await syncAbove(folder, created);
  }
  return (await handle.stat()).ctimeMs;
}

/** What is none of our files gives way to a new one: itself, not what a link leads to. */
async function openPartial({ partial, claim }: IngestPlace): Promise<FileHandle> {
  try {
    return await openOwn(partial, 'update').catch(async (error: unknown) => {
      if (error instanceof ForeignFileError) return openOwn(partial, 'replace');
      throw error;
    });
  } catch (error) {
    claim.end({ isKept: true });
    throw error;
  }
}

/** The folders that hold the new ones, from the lowest up to the one above `highest`. */
async function syncAbove(lowest: string, highest: string): Promise<void> {
  await syncFolder(dirname(lowest));
  if (lowest.length > highest.length) await syncAbove(dirname(lowest), highest);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
