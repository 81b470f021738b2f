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
  /** In the order of arrival. */
  readonly #waiting = new Set<Waiting>();
  readonly #running = new Set<Waiting>();

  constructor(places: number) {
    this.#places = places;
  }

  /** Resolves when the transfer may begin; disposing of the result lets the next one begin. */
  async enter(demand: Demand): Promise<Disposable> {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const transfer = { demand, begin };
    this.#waiting.add(transfer);
    this.refill();
    await begun;
    return {
      [Symbol.dispose]: () => {
        this.#running.delete(transfer);
        this.refill();
      },
    };
  }

  /** Begins what may begin; to be called when the priority of a transfer rose. */
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
    for (const transfer of this.#waiting) {
      if (!next || transfer.demand.priority > next.demand.priority) next = transfer;
    }
    return next && (!isPrefetch(next) || this.#hasPlaceForPrefetch()) ? next : undefined;
  }

  #hasPlaceForPrefetch(): boolean {
    const running = [...this.#running].filter(isPrefetch).length;
    return running < Math.max(1, this.#places - 1);
  }
}

function isPrefetch({ demand }: Waiting): boolean {
  return demand.priority < PRIORITY.hydration;
}
