/** How much is held. */
export interface Usage {
  readonly blobs: number;
  readonly bytes: number;
}

/** How much is held. What earlier runs recorded is counted beside the work. */
export class HeldCount {
  /** Settles when that is through. */
  readonly counted: Promise<void>;
  #usage: Usage = { blobs: 0, bytes: 0 };
  #isStopped = false;

  /** The records must be those of now: what is recorded later is added by itself. */
  constructor(
    records: AsyncIterable<{ readonly size: number }>,
    unreadable: (error: unknown) => void,
  ) {
    this.counted = this.#countAll(records).catch(unreadable);
  }

  get usage(): Usage {
    return this.#usage;
  }

  add(blobs: number, bytes: number): void {
    this.#usage = { blobs: this.#usage.blobs + blobs, bytes: this.#usage.bytes + bytes };
  }

  /** An iterator in its first step and a closing database would wait for each other. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.counted;
  }

  async #countAll(records: AsyncIterable<{ readonly size: number }>): Promise<void> {
    for await (const { size } of records) {
      if (this.#isStopped) return;
      this.add(1, size);
    }
  }
}
