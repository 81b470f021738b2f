import type { Demand } from '../../upstream/demand.ts';

/**
 * Resolves when this many bytes, which have just come, may be passed on; at once when the signal
 * aborts. Never rejects.
 */
export type Pace = (bytes: number, signal: AbortSignal) => Promise<void>;

/** What one asker wants of a download. */
export interface DownloadDemand extends Pick<Demand, 'priority' | 'client'> {
  /** Slows the download until someone with a higher priority and without a pace joins it. */
  readonly pace?: Pace | undefined;
}

/** What all askers of a download want of it together, as it is now. */
export class SharedDemand implements Demand {
  readonly #abort = new AbortController();
  /** Aborts when the download need not keep to a pace any more. */
  readonly #unpaced = new AbortController();
  #pace: Pace | undefined;
  #priority: number;

  constructor({ priority, pace }: DownloadDemand) {
    this.#priority = priority;
    this.#pace = pace;
  }

  get priority(): number {
    return this.#priority;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  join({ priority, pace }: DownloadDemand): void {
    if (priority <= this.#priority) return;
    this.#priority = priority;
    if (!pace) this.#unpace();
  }

  /** Resolves when this many bytes, which have just come, may be passed on. */
  async pass(bytes: number): Promise<void> {
    await this.#pace?.(bytes, this.#unpaced.signal);
  }

  abort(): void {
    this.#abort.abort();
    this.#unpace();
  }

  #unpace(): void {
    this.#pace = undefined;
    this.#unpaced.abort();
  }
}
