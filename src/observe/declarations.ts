import { Gauge, Histogram, type Counter, type Registry } from 'prom-client';
import { BoundCounter } from './bound-counter.ts';

/** The labels of a metric, each with all values that it can have; `ANY` where HTTP or the configuration bounds them. */
export type Labels<Label extends string = string> = Readonly<Record<Label, readonly string[]>>;

type Metric<Label extends string> = Counter<Label> | Gauge<Label> | Histogram<Label>;

export const ANY: readonly string[] = [];

/** Declares metrics in a registry. */
export abstract class Declarations {
  /** By the name of the metric. */
  readonly labels: Map<string, Labels>;
  readonly #registers: Registry[];

  constructor(registry: Registry, labels = new Map<string, Labels>()) {
    this.#registers = [registry];
    this.labels = labels;
  }

  protected counter<Label extends string = never>(
    name: string,
    help: string,
    labels?: Labels<Label>,
  ): BoundCounter<Label> {
    return new BoundCounter(this.#declare({ name, help }, labels));
  }

  /** Absent until its first value is known. */
  protected gauge<Label extends string = never>(
    name: string,
    help: string,
    labels?: Labels<Label>,
  ): Gauge<Label> {
    const gauge = new Gauge(this.#declare({ name, help }, labels));
    if (!labels) gauge.remove();
    return gauge;
  }

  protected histogram<Label extends string>(
    name: string,
    help: string,
    { labels, buckets }: { labels: Labels<Label>; buckets: number[] },
  ): Histogram<Label> {
    return new Histogram(this.#declare({ name, help, buckets }, labels));
  }

  #declare<About extends { name: string }, Label extends string>(
    about: About,
    labels?: Labels<Label>,
  ) {
    this.labels.set(about.name, labels ?? {});
    const labelNames = Object.keys(labels ?? {}) as Label[];
    return { ...about, labelNames, registers: this.#registers };
  }

  /** Exports every set of these values from now on, so that the first count is seen as one. */
  protected start<Label extends string>(metric: Metric<Label>, values: Labels<Label>): void {
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
/** What came of a request for content. `refused`: a rule of admission keeps it back. */
export const REQUEST_RESULTS = [...CACHE_RESULTS, 'refused'] as const;
export type RequestResult = (typeof REQUEST_RESULTS)[number];

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
export const PURPOSES = ['client', 'warm', 'hydration', 'sync', 'healing'] as const;
export type Purpose = (typeof PURPOSES)[number];

export const METHODS = ['GET', 'HEAD'] as const;

/** What upstreams are asked for. */
export const CONTENT_KINDS = ['manifest', 'blob', 'tags', 'referrers', 'catalog'] as const;
/** What clients ask for: `ping` is `/v2/` itself. */
export const REQUEST_KINDS = [...CONTENT_KINDS, 'ping', 'token', 'other'] as const;

/** What a rule of admission does, and what it says of an image. */
export const ADMISSION_MODES = ['audit', 'enforce'] as const;
export const ADMISSION_OUTCOMES = ['admitted', 'refused', 'unknown'] as const;
export const SCAN_OUTCOMES = ['report', 'unscannable', 'missing', 'error'] as const;

/** The public listener, and that of the admin API. */
export const DOORS = ['public', 'admin'] as const;
/**
 * Why a request is refused that asks for nothing wrong. `anonymous`: nobody has said who asks; `credentials`:
 * what was shown says nothing here; `scope`: a token for something else; `rule`: no rule gives it to who asks;
 * `limit`: too many wrong passwords, or logins at a time; `host`: asked under a name that is not the listener's.
 */
export const DENIALS = ['anonymous', 'credentials', 'scope', 'rule', 'limit', 'host'] as const;
export type Denial = (typeof DENIALS)[number];
/** `unknown`: of no account here; `limited`: not compared, since too many wrong ones came. */
export const PASSWORD_RESULTS = ['right', 'wrong', 'unknown', 'limited'] as const;
export type PasswordResult = (typeof PASSWORD_RESULTS)[number];
