/** Wakes all that wait for the next byte or the next state. */
export class GrowthSignal {
  #next = Promise.withResolvers<void>();

  /** Resolves at the next change. Take it before you look at the state, so that no change is missed. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  wake(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }
}
