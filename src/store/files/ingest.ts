import { rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Digest, Digester, IntegrityError, splitDigest } from '../../oci/digest.ts';
import type { Claim } from './aside-files.ts';
import type { OpenFiles } from './stored-blob.ts';
import { syncFolder } from '../own-file.ts';
import type { CrashPoint } from '../faults.ts';
import { TEXTS } from '../texts.ts';
import { mapOf, sparseOf } from './folders.ts';
import { Intervals, type Interval } from './intervals.ts';
import { openPartial, type PartialFile } from './partial-file.ts';
import { SparseFill } from './sparse-fill.ts';

/*
 * A blob on its way in: one write at a time, any number of readers by position.
 *
 *    writing ──verify──▶ verified ──commit──▶ committed
 *       │                    │
 *       └──────── abort ─────┴──▶ aborted, and the file kept for resumption or removed
 *
 * `append`, `spread`, `write` and `reset` are legal while writing; `readAt` between `retain` and `release`
 * in any state, since the open file outlives its renaming and its removal. The file is named after the
 * digest and its owner, so a later ingest of both goes on where this one stopped.
 *
 * A file that grows from its start is all there up to its length. `spread` makes it one with holes, under
 * another name, since a hole reads as zeros: what is there of it, a map beside it says and nothing else.
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
  /** Moves the partial file into quarantine, under its own name. */
  readonly putAside: (path: string) => Promise<void>;
  readonly openFiles: OpenFiles;
}

const READ_BACK_BYTES = 1024 * 1024;

export class Ingest {
  readonly digest: Digest;
  readonly #place: IngestPlace;
  readonly #handle: FileHandle;
  /** The file's name now. */
  #path: string;
  #filled: Intervals;
  /** Of a file with holes. */
  #fill: SparseFill | undefined;
  /** None where the writer proves the bytes. */
  #digester: Digester | undefined;
  /** How many bytes are hashed; more that are there are read back meanwhile. */
  #hashed = 0;
  #isReadingBack = false;
  #caughtUp: Promise<void> = Promise.resolve();
  #holders = 1;
  #isWriting = true;

  /** Opens the partial file of an earlier ingest of this digest where there is one. */
  static async open(digest: Digest, place: IngestPlace): Promise<Ingest> {
    place.openFiles.add(digest);
    let file: PartialFile | undefined;
    try {
      file = await openPartial(digest, place);
      return new Ingest(digest, place, file);
    } catch (error) {
      place.openFiles.remove(digest);
      place.claim.end({ isKept: true, isSparse: file?.fill !== undefined });
      await file?.handle.close();
      throw error;
    }
  }

  constructor(digest: Digest, place: IngestPlace, { handle, path, filled, fill }: PartialFile) {
    this.digest = digest;
    this.#place = place;
    this.#handle = handle;
    this.#path = path;
    this.#filled = filled;
    this.#fill = fill;
    this.#digester = new Digester(splitDigest(digest).algorithm);
    place.claim.resize(filled.bytes);
    this.#readBack();
  }

  /** Bytes on disk from the first on; all of them may be read. */
  get written(): number {
    return this.#filled.endFrom(0);
  }

  /** Bytes on disk, wherever they are. */
  get held(): number {
    return this.#filled.bytes;
  }

  /** Of the whole blob, where the file may have holes. */
  get size(): number | undefined {
    return this.#fill?.size;
  }

  /** Up to where all bytes from this position on are on disk; the position itself where its byte is not. */
  heldFrom(position: number): number {
    return this.#filled.endFrom(position);
  }

  /** What is not on disk of a range, in order. */
  holes(range: Interval): Interval[] {
    return [...this.#filled.holes(range)];
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#write(chunk, this.written);
  }

  /** From now on bytes come at any position. `size`: of the whole blob. */
  async spread(size: number): Promise<void> {
    if (this.#fill) return;
    const { partial, step } = this.#place;
    const { ino: inode } = await this.#handle.stat();
    const mapped = { digest: this.digest, inode, size };
    const fill = await SparseFill.begin(
      { ...this.#place, mapPath: mapOf(partial), mapped, data: this.#handle },
      this.#filled,
    );
    step('spread.mapped');
    await rename(partial, sparseOf(partial)).catch(async (error: unknown) => {
      await fill.drop();
      throw error;
    });
    this.#path = sparseOf(partial);
    this.#fill = fill;
    step('spread.renamed');
  }

  /** After `spread`. Bytes that are there already stay as they are. */
  async write(chunk: Uint8Array, position: number): Promise<void> {
    const range = { start: position, end: position + chunk.length };
    for (const { start, end } of this.holes(range)) {
      await this.#write(chunk.subarray(start - position, end - position), start);
    }
  }

  async #write(chunk: Uint8Array, start: number): Promise<void> {
    for (let offset = 0; offset < chunk.length;) {
      const position = start + offset;
      const { bytesWritten } = await this.#handle.write(chunk, offset, undefined, position);
      offset += bytesWritten;
    }
    const interval = { start, end: start + chunk.length };
    if (this.#fill) {
      this.#place.step('fill.written');
      await this.#fill.note(interval);
    }
    this.#filled.add(interval);
    this.#place.claim.resize(this.held);
    if (this.#hashed === start && !this.#isReadingBack) {
      this.#digester?.update(chunk);
      this.#hashed += chunk.length;
    }
    this.#readBack();
  }

  /** The hash over all that is written from the first byte on, for a transfer that goes on from there. */
  async digester(): Promise<Digester> {
    await this.#caughtUp;
    if (!this.#digester) throw new Error(`${this.#path} is hashed by who writes it`);
    return this.#digester.copy();
  }

  /**
   * Forgets what was written. Only while no reader has seen it. `isProven`: the writer compares what comes
   * from now on with the digest and calls `verify` only where it is right, so that it is hashed once.
   */
  async reset({ isProven = false } = {}): Promise<void> {
    await this.#caughtUp.catch(() => undefined);
    await this.#fill?.drop();
    await this.#handle.truncate(0);
    if (this.#fill) await rename(this.#path, this.#place.partial);
    this.#path = this.#place.partial;
    this.#fill = undefined;
    this.#filled = new Intervals();
    this.#hashed = 0;
    this.#place.claim.resize(0);
    const { algorithm } = splitDigest(this.digest);
    this.#digester = isProven ? undefined : new Digester(algorithm);
    this.#caughtUp = Promise.resolve();
  }

  /** Throws {@link IntegrityError} unless size and digest are right. Ends the writing. */
  async verify(expectedSize: number | undefined): Promise<void> {
    await this.#caughtUp;
    const { written, held } = this;
    if (written !== (expectedSize ?? held)) {
      throw new IntegrityError(this.digest, {
        expected: TEXTS.size({ bytes: expectedSize ?? held }),
        actual: TEXTS.size({ bytes: written }),
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
    const changedAt = await moveIntoPlace(this.#handle, { ...this.#place, partial: this.#path });
    await this.#fill?.drop();
    await this.#endWriting({ isKept: false });
    this.#place.step('commit.done');
    return changedAt;
  }

  /**
   * Ends the writing without a blob. The writer's hold on the file ends. `isWrong`: the bytes are not the
   * digest's. All of a file with holes goes into quarantine then: parts of it were handed out.
   */
  async abort({ keep, isWrong = false }: { keep: boolean; isWrong?: boolean }): Promise<void> {
    const isKept = keep && this.held > 0;
    const isWhole = this.written === this.size;
    try {
      await this.#caughtUp.catch(() => undefined);
      if (!isKept) {
        // What lies behind a hole nobody will have verified.
        this.#filled = new Intervals([{ start: 0, end: this.written }]);
        await this.#fill?.drop();
        if (isWrong && isWhole) await this.#place.putAside(this.#path);
        else await unlink(this.#path).catch(ignoreMissing);
      } else if (this.#fill) {
        await this.#fill.keep();
        // What was only read ages from now on, too.
        const now = new Date();
        await this.#handle.utimes(now, now).catch(() => undefined);
      } else {
        // A failed write may have left part of a chunk behind the bytes that count.
        await this.#handle.truncate(this.written);
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
    this.#place.claim.end({ isKept, isSparse: this.#fill !== undefined });
    await this.release();
  }

  /** The hash catches up with what is there from the first byte on. */
  #readBack(): void {
    if (!this.#digester || this.#isReadingBack || this.#hashed >= this.written) return;
    this.#isReadingBack = true;
    this.#caughtUp = this.#hashWritten(this.#digester).finally(() => {
      this.#isReadingBack = false;
    });
    // `verify` throws it.
    this.#caughtUp.catch(() => undefined);
  }

  async #hashWritten(digester: Digester): Promise<void> {
    let buffer = Buffer.alloc(0);
    while (this.#hashed < this.written) {
      const size = Math.min(this.written - this.#hashed, READ_BACK_BYTES);
      if (buffer.length < size) buffer = Buffer.allocUnsafe(size);
      const wanted = buffer.subarray(0, size);
      const count = await this.readAt(wanted, this.#hashed);
      if (count === 0) {
        throw new Error(`${this.#path} ended at ${this.#hashed} of ${this.written} bytes`);
      }
      digester.update(wanted.subarray(0, count));
      this.#hashed += count;
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

/** The folders that hold the new ones, from the lowest up to the one above `highest`. */
async function syncAbove(lowest: string, highest: string): Promise<void> {
  await syncFolder(dirname(lowest));
  if (lowest.length > highest.length) await syncAbove(dirname(lowest), highest);
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
