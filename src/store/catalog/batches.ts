import type { Batch, Tables } from './tables.ts';

const MAX_CHANGES = 200;

/** Many small changes as few durable writes, in their order. */
export class Batches {
  readonly #tables: Tables;
  #changes: ((batch: Batch) => void)[] = [];

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** What one change puts is written together. */
  async add(change: (batch: Batch) => void): Promise<void> {
    if (this.#changes.push(change) >= MAX_CHANGES) await this.flush();
  }

  async flush(): Promise<void> {
    const changes = this.#changes;
    this.#changes = [];
    await this.#tables.write((batch) => {
      for (const change of changes) change(batch);
    });
  }
}
