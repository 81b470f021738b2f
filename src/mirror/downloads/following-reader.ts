import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange, Reader } from '../../oci/content.ts';
import { Digester } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import type { Ingest } from '../../store/files/ingest.ts';
import type { Growing } from './growing.ts';

/** Nearer than this, a range waits for the running transfer in any case. */
const FAR_BYTES = 8 * 1024 * 1024;
/** A range asks by itself when the transfer would take this many times the patience to reach it. */
const PATIENCE_FACTOR = 3;

const CHECK_BYTES = 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * Reads a growing file at its own pace: from the file where there are bytes, sleeping where there
 * are none yet. It holds the file open, never the download.
 */
export class FollowingReader implements Reader {
  readonly #download: Growing;
  readonly #ingest: Ingest;
  readonly #end: number;
  #position: number;
  #direct: Reader | undefined;
  #shortcut: Reader | undefined;
  /** What a shortcut brought, from where. */
  #ahead: { readonly start: number; end: number; readonly digester: Digester } | undefined;
  #mayShortcut: boolean;
  #isUnreadable = false;
  #closed = false;

  constructor(download: Growing, ingest: Ingest, range: ByteRange) {
    this.#download = download;
    this.#ingest = ingest;
    this.#position = range.start;
    this.#end = range.end;
    this.#mayShortcut = this.#gap() >= FAR_BYTES;
  }

  async read(scratch: Buffer): Promise<Buffer> {
    while (this.#position < this.#end && !this.#closed) {
      // Before anything is looked at: what changes meanwhile is not slept through.
      const growth = this.#download.growth();
      const available = Math.min(this.#end, this.#download.readable) - this.#position;
      if (available > 0 && !this.#isUnreadable) {
        await this.#leaveShortcut();
        await this.#checkAhead();
        const bytes = await this.#readWritten(scratch, available).catch(() => EMPTY);
        if (bytes.length > 0) return this.#advance(bytes);
        // A file that does not give what was written to it: this reader goes on by itself.
        this.#isUnreadable = true;
      }
      if (this.#isUnreadable) return this.#advance(await this.#readDirect(scratch));
      const { state } = this.#download;
      if (state === 'finished') break;
      if (state === 'failed') throw this.#download.failure;
      if (state === 'unstored') return this.#advance(await this.#readDirect(scratch));
      const bytes = await this.#readShortcut(scratch);
      if (bytes) return this.#advance(bytes);
      await growth;
    }
    return EMPTY;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#direct?.close();
    await this.#shortcut?.close();
    await this.#ingest.release();
  }

  #gap(): number {
    return this.#position - this.#ingest.written;
  }

  #advance(bytes: Buffer): Buffer {
    this.#position += bytes.length;
    return bytes;
  }

  /** From memory for a reader that keeps up with the transfer, else from the file. */
  async #readWritten(scratch: Buffer, available: number): Promise<Buffer> {
    const recent = this.#download.findRecent(this.#position);
    if (recent) return recent.subarray(0, available);
    const wanted = available < scratch.length ? scratch.subarray(0, available) : scratch;
    return wanted.subarray(0, await this.#ingest.readAt(wanted, this.#position));
  }

  async #readDirect(scratch: Buffer): Promise<Buffer> {
    this.#direct ??= await this.#download.openDirect({ start: this.#position, end: this.#end });
    if (!this.#closed) return this.#direct.read(scratch);
    // Its client left while it was opened.
    await this.#direct.close();
    return EMPTY;
  }

  /** `undefined` when there is nothing for it to do: then the running transfer is waited for. */
  async #readShortcut(scratch: Buffer): Promise<Buffer | undefined> {
    if (!this.#mayShortcut) return undefined;
    if (!this.#shortcut) {
      if (!(await this.#isWorthAShortcut())) return undefined;
      const range = { start: this.#position, end: this.#end };
      this.#shortcut = this.#download.openAhead(range);
      if (!this.#shortcut) return undefined;
      const start = this.#position;
      this.#ahead = { start, end: start, digester: new Digester('sha256') };
    }
    try {
      const bytes = await this.#shortcut.read(scratch);
      if (bytes.length > 0) {
        this.#ahead?.digester.update(bytes);
        if (this.#ahead) this.#ahead.end += bytes.length;
        return bytes;
      }
    } catch {
      // The download itself tells what is wrong with the upstream, if anything is.
    }
    await this.#leaveShortcut();
    return undefined;
  }

  /**
   * What came ahead of the transfer was not in its hash: once the file is verified it must be the
   * same there, before the last byte, which stands for the whole, is handed on.
   */
  async #checkAhead(): Promise<void> {
    if (!this.#ahead || this.#download.state !== 'finished') return;
    const { start, end, digester } = this.#ahead;
    this.#ahead = undefined;
    const written = new Digester('sha256');
    const scratch = Buffer.allocUnsafe(CHECK_BYTES);
    for (let position = start; position < end;) {
      const wanted = scratch.subarray(0, Math.min(scratch.length, end - position));
      const count = await this.#ingest.readAt(wanted, position);
      if (count === 0) break;
      written.update(wanted.subarray(0, count));
      position += count;
    }
    const [actual, expected] = [digester.value(), written.value()];
    if (actual !== expected) {
      throw new IntegrityError(this.#download.digest, { expected, actual });
    }
  }

  async #isWorthAShortcut(): Promise<boolean> {
    const before = this.#gap();
    await sleep(this.#download.rangeMs);
    const after = this.#gap();
    return !this.#closed && after >= FAR_BYTES && after > PATIENCE_FACTOR * (before - after);
  }

  async #leaveShortcut(): Promise<void> {
    if (!this.#shortcut) return;
    this.#mayShortcut = false;
    await this.#shortcut.close();
    this.#shortcut = undefined;
  }
}
