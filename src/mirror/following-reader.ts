import type { ByteRange, Reader } from '../oci/content.ts';
import type { Ingest } from '../store/ingest.ts';
import type { Download } from './download.ts';

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
  #closed = false;

  constructor(download: Download, ingest: Ingest, range: ByteRange) {
    this.#download = download;
    this.#ingest = ingest;
    this.#position = range.start;
    this.#end = range.end;
  }

  async read(buffer: Buffer): Promise<number> {
    while (this.#position < this.#end && !this.#closed) {
      const available = Math.min(this.#end, this.#download.readable) - this.#position;
      if (available > 0) {
        const wanted = available < buffer.length ? buffer.subarray(0, available) : buffer;
        const count = await this.#ingest.readAt(wanted, this.#position);
        this.#position += count;
        return count;
      }
      const { state } = this.#download;
      if (state === 'finished') return 0;
      if (state === 'failed') throw this.#download.failure;
      if (state === 'unstored') return this.#readDirect(buffer);
      await this.#download.growth();
    }
    return 0;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#direct?.close();
    await this.#ingest.release();
  }

  async #readDirect(buffer: Buffer): Promise<number> {
    this.#direct ??= await this.#download.openDirect({ start: this.#position, end: this.#end });
    const count = await this.#direct.read(buffer);
    this.#position += count;
    return count;
  }
}
