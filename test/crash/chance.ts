/** The same numbers for the same seed. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.trunc(seed);
  }

  /** From 0 up to 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `from` up to `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  /** The first is picked twice as often as the second, three times as often as the third. */
  pickZipf<Item>(items: readonly Item[]): Item {
    const total = items.reduce((sum, _, rank) => sum + 1 / (rank + 1), 0);
    let left = this.next() * total;
    for (const [rank, item] of items.entries()) {
      left -= 1 / (rank + 1);
      if (left <= 0) return item;
    }
    return this.pick(items);
  }
}
