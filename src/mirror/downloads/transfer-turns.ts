import type PQueue from 'p-queue';

interface Turn {
  priority: number;
  readonly transfer: () => Promise<void>;
  /** Of those that leave a place free; false once it has risen above them. */
  isModest: boolean;
  state: 'set aside' | 'queued' | 'running';
}

/**
 * The order of one upstream's transfers. Those below a priority never take the last place, so that
 * a pull need not wait for the end of one; where there is only one place, they may have it.
 */
export class TransferTurns {
  readonly #queue: PQueue;
  readonly #modestBelow: number;
  readonly #turns = new Map<string, Turn>();

  constructor(queue: PQueue, modestBelow: number) {
    this.#queue = queue;
    this.#modestBelow = modestBelow;
  }

  /** Settles with the transfer, which begins when it is its turn. */
  async take(id: string, priority: number, transfer: () => Promise<void>): Promise<void> {
    const done = Promise.withResolvers<void>();
    const isModest = priority < this.#modestBelow;
    const turn: Turn = {
      priority,
      isModest,
      state: 'set aside',
      transfer: async () => {
        turn.state = 'running';
        await transfer().then(done.resolve, done.reject);
      },
    };
    this.#turns.set(id, turn);
    this.#fill();
    try {
      await done.promise;
    } finally {
      this.#turns.delete(id);
      this.#fill();
    }
  }

  /** Moves what waits ahead of those with a lower priority. */
  raise(id: string, priority: number): void {
    const turn = this.#turns.get(id);
    if (!turn || priority <= turn.priority) return;
    turn.priority = priority;
    turn.isModest = priority < this.#modestBelow;
    if (turn.state === 'queued') this.#queue.setPriority(id, priority);
    this.#fill();
  }

  /** Hands to the queue what it may have: all that is not modest, and so many of the modest. */
  #fill(): void {
    const turns = [...this.#turns];
    const limit = Math.max(1, this.#queue.concurrency - 1);
    let places =
      limit - turns.filter(([, { isModest, state }]) => isModest && state !== 'set aside').length;
    const aside = turns
      .filter(([, { state }]) => state === 'set aside')
      .toSorted(([, one], [, other]) => other.priority - one.priority);
    for (const [id, turn] of aside) {
      if (turn.isModest && places-- <= 0) continue;
      turn.state = 'queued';
      void this.#queue.add(turn.transfer, { id, priority: turn.priority });
    }
  }
}
