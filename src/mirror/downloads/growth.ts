/** How long the rate of so many connections is measured. */
const LOOK_MS = 200;
/** Connections are worth having when each brings this share of what one of the others does. */
const WORTH = 0.5;

/**
 * Whether more connections make a transfer faster: the rate before it is compared with the rate after it.
 * Times are milliseconds on one clock.
 */
export class Growth {
  #since: number;
  #bytes = 0;
  /** Before some were added. */
  #before: { readonly rate: number; readonly connections: number } | undefined;
  #rate = 0;

  constructor(now: number) {
    this.#since = now;
  }

  /** Bytes in a millisecond, as last measured; 0 before. */
  get rate(): number {
    return this.#rate;
  }

  /** What was measured so far says nothing of what comes from now on. */
  restart(now: number): void {
    this.#since = now;
    this.#bytes = 0;
  }

  /**
   * Bytes came over so many connections. `more`: as many again may be worth having; `less`: what was added
   * last was not, also when looked at twice as long; `undefined` while nothing is known.
   */
  look(bytes: number, connections: number, now: number): 'more' | 'less' | undefined {
    this.#bytes += bytes;
    const ms = now - this.#since;
    if (ms < LOOK_MS) return undefined;
    const rate = this.#bytes / ms;
    const before = this.#before;
    const added = before ? connections - before.connections : 0;
    const worth = before ? before.rate * (1 + (WORTH * added) / before.connections) : 0;
    const isWorth = added <= 0 || rate >= worth;
    if (!isWorth && ms < 2 * LOOK_MS) return undefined;
    this.#rate = rate;
    this.#before = { rate, connections };
    this.restart(now);
    return isWorth ? 'more' : 'less';
  }
}
