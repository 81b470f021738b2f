/** How long an upstream that more connections gain nothing, or that takes none, is left with one. */
const SINGLE_MS = 10 * 60_000;
/** What nobody has set a number for is measured, up to so many. */
const MOST_MEASURED = 8;

/**
 * How many connections one blob of an upstream may have at a time, from the configuration and from what
 * the upstream has lately made of more than one.
 */
export class Connections {
  #configured: number | 'auto' = 1;
  #singleUntil = -Infinity;

  configure(most: number | 'auto'): void {
    if (most !== this.#configured) this.#singleUntil = -Infinity;
    this.#configured = most;
  }

  /** Another one is opened only where the last one made the transfer faster. */
  get areMeasured(): boolean {
    return this.#configured === 'auto';
  }

  get most(): number {
    if (performance.now() < this.#singleUntil) return 1;
    return this.#configured === 'auto' ? MOST_MEASURED : this.#configured;
  }

  /** More than one was of no use: the upstream knows no ranges, refuses connections, or brings no more. */
  fallBack(): void {
    this.#singleUntil = performance.now() + SINGLE_MS;
  }
}
