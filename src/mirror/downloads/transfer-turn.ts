import type { BlobHead } from '../../upstream/upstream.ts';
import type { TransferParts } from './transfer-source.ts';
import type { Turn } from './turn.ts';

/** The place of one transfer in its queue, which it takes and gives up as often as it needs to. */
export class TransferTurn {
  readonly #parts: TransferParts;
  readonly #onSlow: (patienceMs: number) => void;
  #turn: Turn | undefined;
  #wasBegun = false;
  #size: number | undefined;

  /** `onSlow`: told when the place was taken away because next to nothing came. */
  constructor(parts: TransferParts, onSlow: (patienceMs: number) => void) {
    this.#parts = parts;
    this.#onSlow = onSlow;
  }

  /** It has a place, or waits for one. */
  get held(): Turn | undefined {
    return this.#turn;
  }

  get isWaiting(): boolean {
    return this.#turn?.isWaiting === true;
  }

  /** Others want its place. */
  get isRevoked(): boolean {
    return this.#turn?.isRevoked === true;
  }

  /** Of the blob. */
  set size(bytes: number) {
    this.#size = bytes;
    if (this.#turn) this.#turn.size = bytes;
  }

  /** Stands in the queue, or does so already. */
  line(): Turn {
    if (!this.#turn) {
      const { queue, demand, isExtra = false } = this.#parts;
      this.#turn = queue.line(demand, { isResumed: this.#wasBegun, isExtra });
      if (this.#size !== undefined) this.#turn.size = this.#size;
    }
    return this.#turn;
  }

  /** Resolves when it has a place. */
  async take(): Promise<void> {
    const turn = this.line();
    turn.onSlow = this.#onSlow;
    await turn.begun;
    this.#wasBegun = true;
  }

  /**
   * Asks by HEAD, once that is worth it, unless the turn comes first; the GET tells where that fails.
   */
  async askWhileWaiting(
    worth: Promise<void>,
    listed: number | undefined,
  ): Promise<BlobHead | 'absent' | undefined> {
    const { upstream, repository, digest, demand, queue } = this.#parts;
    const ask = async (): Promise<BlobHead | 'absent'> =>
      (await upstream.headBlob(repository, digest, { demand, size: listed, isWanted: true })) ??
      'absent';
    return queue.askWhileWaiting(this.line(), worth, ask);
  }

  give(): void {
    this.#turn?.[Symbol.dispose]();
    this.#turn = undefined;
  }
}
