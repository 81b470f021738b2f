import { Bandwidth, type Ticker } from '../src/upstream/bandwidth.ts';
import { PRIORITY } from '../src/upstream/demand.ts';

/** A chunk is paid for in parts of this length at the capped rate, so that transfers alternate. */
const PART_MS = 50;

/** Holds all that sync fetches together, from whatever upstreams, to so many bytes a second. */
export class BandwidthCap {
  readonly #bandwidth: Bandwidth;
  readonly #partBytes: number;

  constructor(bytesPerSecond: number, ticker?: Ticker) {
    this.#bandwidth = new Bandwidth(bytesPerSecond, ticker);
    this.#partBytes = Math.max(1, Math.floor((bytesPerSecond * PART_MS) / 1000));
  }

  /**
   * Resolves when this many bytes, which have just come, may be passed on; at once when the signal
   * aborts, for it is then somebody else's to decide.
   */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const demand = { priority: PRIORITY.sync, signal };
    for (let left = bytes; left > 0 && !signal.aborted; left -= this.#partBytes) {
      await this.#bandwidth.take(Math.min(left, this.#partBytes), demand);
    }
  }
}
