import { PRIORITY, type Demand } from '../../upstream/demand.ts';

interface Waiting {
  readonly demand: Demand;
  readonly begin: () => void;
}

/**
 * The transfers of one upstream, so many at a time, in the order of their priority. Those below
 * hydration never take the last place, so that a pull need not wait for the end of one; where there
 * is only one place, they may have it.
 */
export class TransferQueue {
  readonly #places: number;
  /** In the order of their coming. */
  readonly #waiting = new Set<Waiting>();
  readonly #running = new Set<Waiting>();

  constructor(places: number) {
    this.#places = places;
  }

  /** Settles with the transfer, which begins when it is its turn. */
  async run(demand: Demand, transfer: () => Promise<void>): Promise<void> {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const turn = { demand, begin };
    this.#waiting.add(turn);
    this.refill();
    await begun;
    try {
      await transfer();
    } finally {
      this.#running.delete(turn);
      this.refill();
    }
  }

  /** Begins what may begin; to be called when the priority of a transfer has risen. */
  refill(): void {
    for (let next = this.#next(); next; next = this.#next()) {
      this.#waiting.delete(next);
      this.#running.add(next);
      next.begin();
    }
  }

  #next(): Waiting | undefined {
    if (this.#running.size >= this.#places) return undefined;
    let next: Waiting | undefined;
    for (const turn of this.#waiting) {
      if (!next || turn.demand.priority > next.demand.priority) next = turn;
    }
    return next && (!isModest(next) || this.#hasPlaceForModest()) ? next : undefined;
  }

  #hasPlaceForModest(): boolean {
    const modest = [...this.#running].filter(isModest).length;
    return modest < Math.max(1, this.#places - 1);
  }
}

function isModest({ demand }: Waiting): boolean {
  return demand.priority < PRIORITY.hydration;
}
