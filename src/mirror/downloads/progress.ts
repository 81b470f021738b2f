import type { DownloadState } from './following-reader.ts';
import { GrowthSignal } from './growth-signal.ts';

/** How far a download has come, and who waits to know it. */
export class Progress {
  readonly #started = Promise.withResolvers<boolean>();
  readonly #settled = Promise.withResolvers<void>();
  readonly #growth = new GrowthSignal();
  #state: DownloadState = 'starting';
  /** Why it is `failed` or `unstored`, or was `finished` and not kept. */
  failure: unknown;

  constructor() {
    // Nobody may be waiting for it when it fails.
    this.#started.promise.catch(() => undefined);
  }

  get state(): DownloadState {
    return this.#state;
  }

  /** False when the upstream has no such blob. Rejects when it could not be asked. */
  get started(): Promise<boolean> {
    return this.#started.promise;
  }

  /** Resolves when it is known whether it was kept. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Settles with the next byte or the next state. */
  get growth(): Promise<void> {
    return this.#growth.next;
  }

  /** Its size is known, and that the upstream has it. */
  begin(): void {
    this.#started.resolve(true);
  }

  stream(): void {
    this.#state = 'streaming';
  }

  /** A byte has come, or will not. */
  grow(): void {
    this.#growth.wake();
  }

  end(state: Exclude<DownloadState, 'starting' | 'streaming'>, failure?: unknown): void {
    this.#state = state;
    this.failure = failure;
    if (state === 'failed') this.#started.reject(failure);
    else this.#started.resolve(state !== 'absent');
    this.settle();
    this.#growth.wake();
  }

  /** Nothing more becomes of it. */
  settle(): void {
    this.#settled.resolve();
  }
}
