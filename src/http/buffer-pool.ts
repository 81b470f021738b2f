const MIN_BUFFER_BYTES = 32 * 1024;
const MAX_BUFFER_BYTES = 1024 * 1024;
/**
 * All chunks on their way aim at this much: large ones for few clients, small ones for many. Were
 * they to stop one after the other, 2,048 readers would hold 120 MiB.
 */
const TARGET_BYTES = 16 * 1024 * 1024;

/**
 * Buffers for one chunk each, also for the second one of a client. Those given back are kept for the next one: fresh memory costs more in
 * page faults than the copy into it.
 */
export class BufferPool {
  readonly #spare = new Map<number, Buffer[]>();
  #spareBytes = 0;
  #taken = 0;

  /** For content of this many bytes. */
  take(size: number): Buffer {
    this.#taken += 1;
    const wanted = Math.min(MAX_BUFFER_BYTES, TARGET_BYTES / this.#taken, size);
    const length = 2 ** Math.floor(Math.log2(Math.max(MIN_BUFFER_BYTES, wanted)));
    const spare = this.#spare.get(length)?.pop();
    if (!spare) return Buffer.allocUnsafeSlow(length);
    this.#spareBytes -= length;
    return spare;
  }

  /** So few are taken that each client may have a second one, to read into while the first is written. */
  get isRoomy(): boolean {
    return this.#taken < TARGET_BYTES / MAX_BUFFER_BYTES;
  }

  /** `isIdle` says that neither a read nor a write may still touch it. */
  give(buffer: Buffer, isIdle: boolean): void {
    this.#taken -= 1;
    const { length } = buffer;
    if (!isIdle || this.#spareBytes + length > TARGET_BYTES) return;
    const spare = this.#spare.get(length);
    if (spare) spare.push(buffer);
    else this.#spare.set(length, [buffer]);
    this.#spareBytes += length;
  }
}
