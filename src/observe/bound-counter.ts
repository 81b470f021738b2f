import { Counter } from 'prom-client';

/** A counter of one set of labels: what is added here stands in the counter whenever that is read. */
export interface Bound<Label extends string = string> {
  readonly labels: Readonly<Record<Label, string>>;
  /** Since it was last read. */
  count: number;
}

/** A counter of what happens thousands of times a second, for which labels are looked up once. */
export class BoundCounter<Label extends string> extends Counter<Label> {
  /** No more than there are sets of labels, which the program and its configuration limit. */
  readonly #bound = new Map<string, Bound<Label>>();

  bind(labels: Readonly<Record<Label, string>>): Bound<Label> {
    const key = JSON.stringify(labels);
    const known = this.#bound.get(key);
    if (known) return known;
    const bound = { labels, count: 0 };
    this.#bound.set(key, bound);
    return bound;
  }

  override async get() {
    for (const bound of this.#bound.values()) {
      if (bound.count > 0) this.inc(bound.labels, bound.count);
      bound.count = 0;
    }
    return super.get();
  }
}
