import type { Readable } from 'node:stream';
import type { BlobRange, BundleWish, DraftReport, DraftState } from '../../src/api/bundle-api.ts';
import { RunProgress } from '../run-progress.ts';
import type { SyncParts } from '../parts.ts';

export type DraftParts = Pick<SyncParts, 'timer'>;

/** One draft, from its wish to its end. */
export class Draft {
  readonly #parts: DraftParts;
  readonly #abort = new AbortController();
  readonly #progress: RunProgress;
  readonly #ended: Promise<void>;
  #report: DraftReport | undefined;
  #usedAt: number;

  constructor(parts: DraftParts, _wish: BundleWish) {
    this.#parts = parts;
    this.#progress = new RunProgress(parts.timer);
    this.#usedAt = parts.timer.steady();
    this.#ended = Promise.resolve();
  }

  get state(): Omit<DraftState, 'id'> {
    if (this.#report) return { last: this.#report };
    return { running: this.#progress.describe('planning') };
  }

  /** Somebody asks for it. */
  use(): this {
    this.#usedAt = this.#parts.timer.steady();
    return this;
  }

  /** Resolves once nobody has asked for so long, or when it is closed. */
  async unusedFor(ms: number): Promise<void> {
    const { timer } = this.#parts;
    const { signal } = this.#abort;
    for (let left = ms; left > 0 && !signal.aborted; left = this.#usedAt + ms - timer.steady()) {
      await timer.wait(left, signal).catch(() => undefined);
    }
  }

  async openBlob(_digest: string, _range: BlobRange): Promise<Readable | undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }
}
