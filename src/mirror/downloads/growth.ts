/** Wakes all that wait for the next byte or the next state. */
export class Growth {
  #next = Promise.withResolvers<void>();

  /** To be taken before what is waited for is looked at, so that no change is missed. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  wake(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }
}
