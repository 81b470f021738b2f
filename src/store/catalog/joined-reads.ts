import type { Tables } from './tables.ts';

/** Keys of one trip: they are looked up one after the other, and the first waits for the last. */
const MAX_KEYS = 16;

/** A table of the database. */
interface Table {
  prefixKey(key: string, encoding: 'utf8'): string;
}

interface Wanted {
  readonly key: string;
  readonly settle: PromiseWithResolvers<unknown>;
}

/**
 * Reads of single records, whatever their tables: those that are wanted at the same moment make one
 * trip through the thread pool. `getSync` would do without the trip, for a third of the processor's time; but
 * where the disk is read, all other requests would stand for as long as that takes.
 */
export class JoinedReads {
  readonly #db: Tables['db'];
  #wanted: Wanted[] = [];

  constructor(db: Tables['db']) {
    this.#db = db;
  }

  /** `undefined` where there is no such record. */
  async get<Value>(table: Table, key: string): Promise<Value | undefined> {
    const settle = Promise.withResolvers<unknown>();
    if (this.#wanted.length === 0) queueMicrotask(() => this.#readAll());
    this.#wanted.push({ key: table.prefixKey(key, 'utf8'), settle });
    return settle.promise as Promise<Value | undefined>;
  }

  #readAll(): void {
    const wanted = this.#wanted;
    this.#wanted = [];
    for (let first = 0; first < wanted.length; first += MAX_KEYS) {
      void this.#read(wanted.slice(first, first + MAX_KEYS));
    }
  }

  async #read(wanted: readonly Wanted[]): Promise<void> {
    try {
      const values = await this.#db.getMany(wanted.map(({ key }) => key));
      for (const [place, { settle }] of wanted.entries()) settle.resolve(values[place]);
    } catch (error) {
      // A damaged record spoils no other one.
      if (wanted.length === 1) wanted[0]?.settle.reject(error);
      else for (const each of wanted) void this.#read([each]);
    }
  }
}
