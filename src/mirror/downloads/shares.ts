import { isInteractive } from '../../upstream/demand.ts';
import type { Turn } from './turn.ts';

/** The running transfers of one queue. */
type Running = () => Iterable<Turn>;

/**
 * Whose turn is fair: who has how many of the places of an upstream and, where the configuration has a
 * limit, how many transfers from all upstreams together. Who stands in line is a subject, or an address
 * where nobody has said who it is; what several wait for counts for each of them, and is wanted by
 * whoever of them has fewest. What nobody waits for is nobody's.
 */
export class Shares {
  #limit = Infinity;
  readonly #queues = new Set<Running>();

  /** How many transfers one may have begun while others want places; without a limit if left out. */
  configure(limit = Infinity): void {
    this.#limit = limit;
  }

  add(running: Running): void {
    this.#queues.add(running);
  }

  /** As it is now: to be taken anew for each decision. */
  of(running: Iterable<Turn>): Standing {
    const limit = this.#limit;
    const isLimited = limit !== Infinity;
    const all = isLimited ? this.#queues.values().flatMap((each) => each()) : [];
    return new Standing({ here: countOf(running), begun: countOf(all), limit });
  }
}

interface StandingParts {
  /** Places of this upstream. */
  readonly here: ReadonlyMap<string, number>;
  /** Transfers from all upstreams; empty without a limit. */
  readonly begun: ReadonlyMap<string, number>;
  readonly limit: number;
}

/** How one stands beside the others. */
export class Standing {
  readonly #parts: StandingParts;

  constructor(parts: StandingParts) {
    this.#parts = parts;
  }

  /** Of two that wait, which goes first: negative for the first one. Who has reached the limit is behind all others. */
  compare(one: Turn, other: Turn): number {
    return (
      Number(this.#isAtLimit(one)) - Number(this.#isAtLimit(other)) ||
      this.#here(one) - this.#here(other)
    );
  }

  /**
   * Whether a running one makes way for one that waits: that of a client past the limit for one below it,
   * and one of several for the first of a client that has none.
   */
  makesWay(running: Turn, waiting: Turn): boolean {
    if (this.#isAtLimit(waiting)) return false;
    const isPast = leastOf(running, this.#parts.begun) > this.#parts.limit;
    return isPast || (this.#here(waiting) === 0 && this.#here(running) > 1);
  }

  #isAtLimit(turn: Turn): boolean {
    return leastOf(turn, this.#parts.begun) >= this.#parts.limit;
  }

  #here(turn: Turn): number {
    return leastOf(turn, this.#parts.here);
  }
}

function countOf(turns: Iterable<Turn>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const turn of turns) {
    // It goes as soon as anybody waits.
    if (turn.isExtra) continue;
    for (const client of clientsOf(turn)) counts.set(client, (counts.get(client) ?? 0) + 1);
  }
  return counts;
}

function clientsOf({ demand }: Turn): Iterable<string> {
  return demand.clients ?? (isInteractive(demand) ? [demand.client ?? ''] : []);
}

/** Of whoever of its clients has fewest: one more is no more than fair to that one. */
function leastOf(turn: Turn, counts: ReadonlyMap<string, number>): number {
  const { client, clients } = turn.demand;
  // Nearly all have one, and all that wait are looked at.
  if (client !== undefined) return counts.get(client) ?? 0;
  if (clients?.size === 0) return 0;
  let least = Infinity;
  for (const each of clientsOf(turn)) least = Math.min(least, counts.get(each) ?? 0);
  return least === Infinity ? 0 : least;
}
