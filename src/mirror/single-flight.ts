/** One run at a time for each key; whoever asks meanwhile shares its result or its failure. */
export class SingleFlight {
  readonly #running = new Map<string, Promise<unknown>>();

  /** A key belongs to one kind of work, so its promises are of one type. */
  async do<Value>(key: string, work: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key) as Promise<Value> | undefined;
    if (running) return running;
    const started = work().finally(() => this.#running.delete(key));
    this.#running.set(key, started);
    return started;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Resolves when nothing runs any more, whatever came of it. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }
}
