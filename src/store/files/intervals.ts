/** From `start` up to `end`, which is not in it. */
export interface Interval {
  readonly start: number;
  readonly end: number;
}

/** Which bytes of a file are there: intervals in order, of which no two touch. */
export class Intervals implements Iterable<Interval> {
  readonly #list: Interval[] = [];
  #bytes = 0;

  constructor(first: Iterable<Interval> = []) {
    for (const interval of first) this.add(interval);
  }

  /** In all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of the last one; 0 without any. */
  get end(): number {
    return this.#list.at(-1)?.end ?? 0;
  }

  get count(): number {
    return this.#list.length;
  }

  add({ start, end }: Interval): void {
    if (start >= end) return;
    const first = this.#firstEndingFrom(start);
    let [from, to, behind] = [start, end, first];
    for (let next = this.#list[behind]; next && next.start <= end; next = this.#list[behind]) {
      from = Math.min(from, next.start);
      to = Math.max(to, next.end);
      this.#bytes -= next.end - next.start;
      behind += 1;
    }
    this.#list.splice(first, behind - first, { start: from, end: to });
    this.#bytes += to - from;
  }

  /** Up to where all bytes from this position on are there; the position itself when its byte is not. */
  endFrom(position: number): number {
    const found = this.#list[this.#firstEndingFrom(position + 1)];
    return found && found.start <= position ? found.end : position;
  }

  /** What is not there of a range, in order. */
  *holes({ start, end }: Interval): Generator<Interval> {
    let position = start;
    for (let at = this.#firstEndingFrom(start + 1); position < end; at += 1) {
      const next = this.#list[at];
      const upTo = Math.min(next?.start ?? end, end);
      if (position < upTo) yield { start: position, end: upTo };
      if (!next) return;
      position = next.end;
    }
  }

  [Symbol.iterator](): Iterator<Interval> {
    return this.#list.values();
  }

  /** The position in the list of the first one that ends there or behind it. */
  #firstEndingFrom(position: number): number {
    let [low, high] = [0, this.#list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#list[middle]?.end ?? Infinity) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
