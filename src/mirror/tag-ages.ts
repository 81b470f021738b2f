import { itemKey, type Tag, type Target } from '../oci/reference.ts';
import { ageOf, type Clock } from '../time/clock.ts';
import { RecentMap } from '../time/recent-map.ts';

/** One moment, by both clocks. */
export interface Instant {
  readonly wall: number;
  readonly steady: number;
}

/** Milliseconds since the upstream spoke. The clocks need not agree. */
export interface Age {
  /** The larger age of the two clocks; `undefined` when the wall clock was set back since. */
  readonly atMost: number | undefined;
  /** The smaller age of the two clocks; `undefined` when neither can tell. */
  readonly atLeast: number | undefined;
}

const MAX_TAGS = 50_000;
/** What was written before was written by a machine that had no time yet. */
const FIRST_PLAUSIBLE = Date.UTC(2025, 0, 1);

/**
 * How old what the upstream said of tags is. Only the wall clock knows of earlier runs, and anybody
 * may set it; the steady clock begins with the process and stands still while a machine sleeps. So
 * what is fresh must be young by both, and what is too old must be old by both.
 */
export class TagAges {
  readonly #clock: Clock;
  readonly #start: Instant;
  readonly #heard = new RecentMap<string, Instant>(MAX_TAGS);

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#start = this.now();
  }

  now(): Instant {
    return { wall: this.#clock.wall(), steady: this.#clock.steady() };
  }

  /** The upstream spoke of the tag at this moment. */
  heard(target: Target, tag: Tag, moment: Instant): void {
    this.#heard.set(itemKey(target, tag), moment);
  }

  /** Whether it spoke of it in this run, after this moment of the wall clock. */
  hasHeardSince(target: Target, tag: Tag, then = -Infinity): boolean {
    const heard = this.#heard.get(itemKey(target, tag));
    return heard !== undefined && heard.wall > then;
  }

  /** The age of an answer that the upstream gave at this moment of the wall clock. */
  of(target: Target, tag: Tag, then: number): Age {
    const wall = ageOf(then, this.#clock);
    const steady = this.#steadyAge(target, tag, then);
    const plausible = then < FIRST_PLAUSIBLE ? undefined : wall;
    return {
      atMost: wall === undefined ? undefined : Math.max(wall, steady ?? 0),
      atLeast: plausible === undefined ? steady : Math.min(plausible, steady ?? plausible),
    };
  }

  #steadyAge(target: Target, tag: Tag, then: number): number | undefined {
    const { wall, steady } = this.#start;
    const heard = this.#heard.get(itemKey(target, tag));
    if (heard?.wall === then) return this.#clock.steady() - heard.steady;
    // In an earlier run, by a clock that this process has no reason to doubt.
    const isEarlier = then >= FIRST_PLAUSIBLE && then <= wall;
    return isEarlier ? wall - then + this.#clock.steady() - steady : undefined;
  }
}

export function earlier({ wall, steady }: Instant, ms: number): Instant {
  return { wall: wall - ms, steady: steady - ms };
}
