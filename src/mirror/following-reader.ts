import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange, Reader } from '../oci/content.ts';
import type { Ingest } from '../store/ingest.ts';
import type { Download } from './download.ts';
import type { Shortcut } from './shortcut.ts';

/** Nearer than this, a range waits for the running transfer in any case. */
const FAR_BYTES = 8 * 1024 * 1024;
/** A range asks by itself when the transfer would take this many times the patience to reach it. */
const PATIENCE_FACTOR = 3;

/**
 * Reads a growing file at its own pace: from the file where there are bytes, sleeping where there
 * are none yet. It holds the file open, never the download.
 */
export class FollowingReader implements Reader {
  readonly #download: Download;
  readonly #ingest: Ingest;
  readonly #end: number;
  #position: number;
  #direct: Reader | undefined;
  #shortcut: Shortcut | undefined;
  #mayShortcut: boolean;
  #closed = false;

  constructor(download: Download, ingest: Ingest, range: ByteRange) {
    this.#download = download;
    this.#ingest = ingest;
    this.#position = range.start;
    this.#end = range.end;
    this.#mayShortcut = this.#gap() >= FAR_BYTES;
  }

  async read(buffer: Buffer): Promise<number> {
    while (this.#position < this.#end && !this.#closed) {
      const available = Math.min(this.#end, this.#download.readable) - this.#position;
      if (available > 0) {
        await this.#leaveShortcut();
        const wanted = available < buffer.length ? buffer.subarray(0, available) : buffer;
        const count = await this.#ingest.readAt(wanted, this.#position);
        this.#position += count;
        return count;
      }
      const { state } = this.#download;
      if (state === 'finished') return 0;
      if (state === 'failed') throw this.#download.failure;
      if (state === 'unstored') return this.#readDirect(buffer);
      const count = await this.#readShortcut(buffer);
      if (count > 0) return count;
      await this.#download.growth();
    }
    return 0;
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

  async #readDirect(buffer: Buffer): Promise<number> {
    this.#direct ??= await this.#download.openDirect({ start: this.#position, end: this.#end });
    const count = await this.#direct.read(buffer);
    this.#position += count;
    return count;
  }

  /** 0 when there is nothing for it to do: then the running transfer is waited for. */
  async #readShortcut(buffer: Buffer): Promise<number> {
    if (!this.#mayShortcut) return 0;
    if (!this.#shortcut) {
      if (!(await this.#isWorthAShortcut())) return 0;
      const range = { start: this.#position, end: this.#end };
      this.#shortcut = this.#download.openShortcut(range);
      if (!this.#shortcut) return 0;
    }
    try {
      const count = await this.#shortcut.read(buffer);
      this.#position += count;
      if (count === 0) await this.#leaveShortcut();
      return count;
    } catch {
      // The download itself tells what is wrong with the upstream, if anything is.
      await this.#leaveShortcut();
      return 0;
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
