import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Declares metrics in a registry. */
export abstract class Declarations {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  protected counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: this.#registers });
  }

  /** Absent until its first value is known. */
  protected gauge<Label extends string = never>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ): Gauge<Label> {
    const gauge = new Gauge({ name, help, labelNames, registers: this.#registers });
    if (labelNames.length === 0) gauge.remove();
    return gauge;
  }

  protected histogram<Label extends string>(
    name: string,
    help: string,
    { labels: labelNames, buckets }: { labels: readonly Label[]; buckets: number[] },
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets, registers: this.#registers });
  }

  /** Exports every set of these values from now on, so that the first count is seen as one. */
  protected start<Label extends string>(
    metric: Counter<Label> | Gauge<Label> | Histogram<Label>,
    values: Readonly<Record<Label, readonly string[]>>,
  ): void {
    let sets: Record<string, string>[] = [{}];
    for (const [name, each] of Object.entries<readonly string[]>(values)) {
      sets = sets.flatMap((set) => each.map((value) => ({ ...set, [name]: value })));
    }
    for (const set of sets) {
      const labels = set as Record<Label, string>;
      if (metric instanceof Histogram) metric.zero(labels);
      else metric.inc(labels, 0);
    }
  }
}

/** How the cache came by an answer. */
export const CACHE_RESULTS = [
  'hit',
  'miss',
  'joined',
  'stale',
  'revalidated',
  'negative',
  'bypass',
] as const;
export type CacheResult = (typeof CACHE_RESULTS)[number];

/**
 * Why an answer was a miss or a bypass. `cold`: it was not here; `evicted`: it was, since the start of
 * the process; `moved`: its tag means another manifest now; `damaged`: what was held is none;
 * `foreign`: the upstream had to show that it has what is held because of another; `absent`: there is
 * no such thing; `unstored`: the store does not take it.
 */
export const MISS_REASONS = [
  'cold',
  'evicted',
  'moved',
  'damaged',
  'foreign',
  'absent',
  'unstored',
] as const;
export type MissReason = (typeof MISS_REASONS)[number];

/** For whom an upstream is asked; `hydration` is also that of tags answered meanwhile. */
export const PURPOSES = ['client', 'hydration', 'sync', 'healing'] as const;
export type Purpose = (typeof PURPOSES)[number];

export const METHODS = ['GET', 'HEAD'] as const;
