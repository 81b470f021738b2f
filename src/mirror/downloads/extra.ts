import { until, type SharedDemand } from './demand.ts';
import { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';

/** How long it may bring nothing before what it was given is another's; before it has answered, so many times that. */
const STALL_MS = 2_000;
const ANSWER_FACTOR = 3;

/** One more connection of a blob, beside its first one. */
export class Extra {
  readonly transfer: Transfer;
  readonly #abort = new AbortController();
  readonly #stallMs: number;
  #movedAt = performance.now();
  hasAnswered = false;
  /** When it has ended; never rejects. */
  ended: Promise<void> = Promise.resolve();

  /** `size`: of the blob, which its answers must say as well. */
  constructor(source: TransferSource, demand: SharedDemand, size: number | undefined) {
    this.#stallMs = source.timing.turnMs ?? STALL_MS;
    this.transfer = new Transfer({
      ...source,
      demand: until(demand, this.#abort.signal),
      isExtra: true,
    });
    if (size !== undefined) this.transfer.expect(size);
  }

  came(): void {
    this.#movedAt = performance.now();
    this.hasAnswered = true;
  }

  isStalled(now: number): boolean {
    return now - this.#movedAt > this.#stallMs * (this.hasAnswered ? 1 : ANSWER_FACTOR);
  }

  abort(): void {
    this.#abort.abort();
    this.transfer.discard();
  }
}
