export interface BackoffShape {
  /** The pause after the first failure, milliseconds. */
  readonly firstMs: number;
  /** Of a pause to the one before it; 2 unless given. */
  readonly factor?: number;
  readonly maxMs?: number;
  /** A random part of the upper half is left out, so that those who failed together do not return together. */
  readonly isJittered?: boolean;
}

/** Pauses that grow from failure to failure. */
export class Backoff {
  readonly #shape: Required<BackoffShape>;

  constructor(shape: BackoffShape) {
    this.#shape = { factor: 2, maxMs: Infinity, isJittered: false, ...shape };
  }

  /** Milliseconds to wait after so many failures in a row. */
  after(failures: number): number {
    const { firstMs, factor, maxMs, isJittered } = this.#shape;
    const pause = Math.min(firstMs * factor ** (failures - 1), maxMs);
    return isJittered ? pause * (0.5 + Math.random() / 2) : pause;
  }
}
