import { rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import PQueue from 'p-queue';
import { formatLine, parseLine, readLines } from './journal-lines.ts';
import { formatTarget } from '../../oci/reference.ts';
import type { Catalog, JournalEntry } from '../catalog/catalog.ts';
import { manifestEntry, tagEntry } from '../catalog/journal-entries.ts';
import { look, openOwn, syncFolder } from '../own-file.ts';
import { noCrashPoint, type CrashPoint } from '../faults.ts';

export interface JournalOptions {
  /** What was written outlives a power loss, as the catalog's facts do. */
  readonly isSynced?: boolean;
  readonly step?: CrashPoint;
  /** How much waits in memory while the disk refuses; beyond it the journal has a gap. */
  readonly maxPendingBytes?: number;
}

const MAX_PENDING_BYTES = 8 * 1024 * 1024;
const COPY_BYTES = 256 * 1024;
/** Below this a journal is left to grow. */
const MIN_COMPACTED_BYTES = 1024 * 1024;

/**
 * What the catalog knows that the files of blobs do not tell, one entry a line, for the day that
 * the catalog is lost. A crash leaves at most a torn last line, which counts as nothing. Nothing
 * here ever fails its caller: while the disk refuses, the journal is behind and says so.
 */
export class Journal {
  readonly #path: string;
  readonly #isSynced: boolean;
  readonly #step: CrashPoint;
  readonly #maxPendingBytes: number;
  /** Writes and the end of a compaction, one at a time. */
  readonly #writes = new PQueue({ concurrency: 1 });
  #handle: FileHandle;
  /** The end of the whole lines; a failed write may have left bytes behind it. */
  #size: number;
  #pending: string[] = [];
  #pendingBytes = 0;
  #isScheduled = false;
  #isFailing = false;
  #hasGap = false;

  static async open(path: string, options: JournalOptions = {}): Promise<Journal> {
    // A crash may have left an unfinished compaction beside the journal.
    await rm(newPath(path), { force: true }).catch(() => undefined);
    const isNew = (await look(path)) === undefined;
    const handle = await openOwn(path, 'update');
    try {
      if (isNew && options.isSynced) await syncFolder(dirname(path));
      const { size } = await handle.stat();
      const journal = new Journal(path, { handle, size }, options);
      // The next entry must not continue a torn line.
      if (size > 0 && (await readByte(handle, size - 1)) !== '\n') journal.#queue('\n');
      return journal;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  constructor(path: string, file: { handle: FileHandle; size: number }, options: JournalOptions) {
    this.#path = path;
    this.#handle = file.handle;
    this.#size = file.size;
    this.#isSynced = options.isSynced ?? false;
    this.#step = options.step ?? noCrashPoint;
    this.#maxPendingBytes = options.maxPendingBytes ?? MAX_PENDING_BYTES;
  }

  /** Bytes on disk. */
  get size(): number {
    return this.#size;
  }

  /** Entries were lost while the disk refused, until a compaction writes everything anew. */
  get hasGap(): boolean {
    return this.#hasGap;
  }

  /** Writes them in this order, later. */
  append(entries: readonly JournalEntry[]): void {
    for (const entry of entries) this.#queue(formatLine(entry));
    if (this.#isScheduled || this.#pending.length === 0) return;
    this.#isScheduled = true;
    void this.#writes.add(async () => this.#flush());
  }

  /** Resolves when all that was appended was tried to be written. */
  async idle(): Promise<void> {
    await this.#writes.add(async () => this.#flush());
  }

  /** The entries of a journal that nobody writes; none when it is missing, or no file of the store. */
  static async *read(path: string): AsyncGenerator<JournalEntry> {
    const handle = await openOwn(path, 'read').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'EFOREIGN') return undefined;
      throw error;
    });
    if (!handle) return;
    try {
      const { size } = await handle.stat();
      for await (const line of readLines(handle, size)) {
        const entry = line === undefined ? undefined : parseLine(line);
        if (entry) yield entry;
      }
    } finally {
      await handle.close();
    }
  }

  /**
   * Writes the journal anew from the catalog where that is worth it, or where the journal is known to
   * lack something: it was never written in full, lost its file, or a disk refused too much of it.
   * Resolves with whether it did. Rejects when the disk refuses or the signal aborts; then the
   * journal is as it was.
   */
  async compactFrom(catalog: Catalog, signal?: AbortSignal): Promise<boolean> {
    await this.idle();
    if (!this.#isToCompact(await catalog.findFigure('journal'))) return false;
    await this.compact(until(signal, describeCatalog(catalog)));
    await catalog.recordFigure('journal', this.#size);
    return true;
  }

  #isToCompact(live: number | undefined): boolean {
    if (this.#hasGap || live === undefined || this.#size < live) return true;
    return this.#size > MIN_COMPACTED_BYTES && this.#size > 2 * live;
  }

  /**
   * Puts these entries, which tell everything, in place of what was written up to now. What is
   * appended meanwhile follows them. Rejects when the disk refuses; then all is as it was. Once at
   * a time.
   */
  async compact(entries: AsyncIterable<JournalEntry>): Promise<void> {
    const { from, hadGap } = await this.#writes.add(async () => {
      await this.#flush();
      const hadGap = this.#hasGap;
      // Entries that are lost from here on are missing in the new file too.
      this.#hasGap = false;
      // Entries that still wait are told by the new ones as well, or follow them.
      return { from: this.#size, hadGap };
    });
    let handle: FileHandle | undefined;
    try {
      handle = await openOwn(newPath(this.#path), 'replace');
      const written = await writeAll(handle, entries);
      this.#step('compact.written');
      const target = handle;
      await this.#writes.add(async () => this.#swap(target, { from, written }));
    } catch (error) {
      this.#hasGap ||= hadGap;
      if (handle) await handle.close();
      await rm(newPath(this.#path), { force: true });
      throw error;
    }
  }

  async #swap(handle: FileHandle, { from, written }: { from: number; written: number }) {
    let size = written;
    for (let position = from; position < this.#size;) {
      const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, this.#size - position));
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) throw new Error(`${this.#path} ended at ${position} bytes`);
      await writeFully(handle, buffer.subarray(0, bytesRead), size);
      position += bytesRead;
      size += bytesRead;
    }
    await handle.sync();
    this.#step('compact.synced');
    await rename(newPath(this.#path), this.#path);
    this.#step('compact.renamed');
    const old = this.#handle;
    this.#handle = handle;
    this.#size = size;
    await old.close().catch(() => undefined);
    // Without this sync a power loss may bring the old file back, which is as good.
    await syncFolder(dirname(this.#path)).catch(() => undefined);
  }

  /** After the last append. */
  async close(): Promise<void> {
    await this.idle();
    await this.#writes.add(async () => this.#handle.close());
  }

  #queue(line: string): void {
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    if (this.#pendingBytes <= this.#maxPendingBytes || !this.#isFailing) return;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#hasGap = true;
  }

  async #flush(): Promise<void> {
    this.#isScheduled = false;
    const lines = this.#pending;
    if (lines.length === 0) return;
    const bytes = Buffer.from(lines.join(''));
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      // The failed write may have left bytes that are longer than this one.
      if (this.#isFailing) await this.#handle.truncate(this.#size);
      await writeFully(this.#handle, bytes, this.#size);
      if (this.#isSynced) await this.#handle.datasync();
      this.#size += bytes.length;
      this.#isFailing = false;
    } catch {
      this.#isFailing = true;
      // The failed entries come again before those that were appended meanwhile.
      const later = this.#pending;
      this.#pending = [];
      this.#pendingBytes = 0;
      for (const line of [...lines, ...later]) this.#queue(line);
    }
  }
}

async function writeAll(handle: FileHandle, entries: AsyncIterable<JournalEntry>): Promise<number> {
  let size = 0;
  let text = '';
  const write = async (): Promise<void> => {
    const bytes = Buffer.from(text);
    text = '';
    await writeFully(handle, bytes, size);
    size += bytes.length;
  };
  for await (const entry of entries) {
    text += formatLine(entry);
    if (text.length >= COPY_BYTES) await write();
  }
  await write();
  return size;
}

async function writeFully(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, offset, undefined, position + offset);
    offset += bytesWritten;
  }
}

async function readByte(handle: FileHandle, position: number): Promise<string> {
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, position);
  return buffer.toString('latin1');
}

function newPath(path: string): string {
  return `${path}.new`;
}

/** What a catalog knows, as a journal tells it. */
export async function* describeCatalog(catalog: Catalog): AsyncGenerator<JournalEntry> {
  for await (const { target, digest, record } of catalog.manifests()) {
    yield manifestEntry(target, digest, record);
  }
  for await (const { target, tag, record } of catalog.tags()) {
    yield tagEntry(target, tag, record);
  }
  for await (const { target, digest } of catalog.unlistedLinks()) {
    yield { blob: digest, of: formatTarget(target) };
  }
  for (const pin of await catalog.listPins()) yield { pin };
}

async function* until<Item>(
  signal: AbortSignal | undefined,
  items: AsyncIterable<Item>,
): AsyncGenerator<Item> {
  for await (const item of items) {
    signal?.throwIfAborted();
    yield item;
  }
}
