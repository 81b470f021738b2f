import { AsyncLocalStorage } from 'node:async_hooks';
import PQueue from 'p-queue';
import { isInteractive } from '../../upstream/demand.ts';
import { TEXTS } from '../texts.ts';
import { Shares, type Standing } from './shares.ts';
import { DroppedError, LOOKS, Turn, type QueueDemand, type TurnOptions } from './turn.ts';

export interface TransferQueueOptions {
  /** For what is told of a transfer that was dropped. */
  readonly upstream?: string;
  /** How long a transfer may bring next to nothing while others wait; milliseconds. */
  readonly patienceMs?: number | undefined;
  /** Of all upstreams together; those of this one alone if left out. */
  readonly shares?: Shares;
  /** Told how many wait. */
  readonly lined?: (waiting: number) => void;
  /** Told how long one waited that has its turn now; seconds. */
  readonly began?: (seconds: number) => void;
}

/** Small beside a client's patience of 25 s: others have their turn long before it ends. */
const PATIENCE_MS = 1_000;
/** Such transfers take nearly no memory, and a descriptor each. */
const MAX_SLOW = 256;
/** More than the layers of what a few clients begin and leave at once. */
const MAX_UNREAD = 64;
/**
 * How long one waits for its turn that no client reads. Hydration and sync try again later, and have
 * other blobs to fetch, perhaps of an upstream that has a place.
 */
const UNREAD_MS = 10 * 60_000;
/** Questions by HEAD about what waits, at a time. */
const MAX_HEADS = 32;

/**
 * The transfers of one upstream, so many at a time: those that somebody reads first, then by
 * priority, then as `Shares` says: those of the client that has fewest, and last those of one that has
 * reached its limit; then in the order of arrival. Those of whole
 * images, for sync or to warm them, never take the last place, so that a pull need not wait for the
 * end of one; where there is only one place, they may have it.
 *
 * A place is never held for nothing: one that brings next to nothing loses it while others wait, and
 * goes on beside those that have one for as long as that is so. What a transfer has beside its own place,
 * for more connections, it gives up to whoever waits or is more urgent. One that nobody reads gives it up to
 * one that somebody reads, as does the youngest of a client that has several to the first of a client
 * that has none, and of a client past its limit to one below. A lone client may have all.
 *
 * Nothing waits for ever: clients leave after their own patience, and what no client reads is dropped
 * once it has waited for ten minutes, or when too many such transfers wait.
 *
 * `p-queue` would not do: its priorities are told at the entrance, and what runs keeps its place.
 */
export class TransferQueue {
  readonly #heads = new PQueue({ concurrency: MAX_HEADS });
  #places: number;
  readonly #options: TransferQueueOptions;
  readonly #lookMs: number;
  readonly #shares: Shares;
  /** In the order of arrival. */
  readonly #waiting = new Set<Turn>();
  /** In the order of beginning. */
  readonly #running = new Set<Turn>();
  readonly #slow = new Set<Turn>();
  #looking: NodeJS.Timeout | undefined;

  constructor(places: number, options: TransferQueueOptions = {}) {
    const { patienceMs = PATIENCE_MS, shares = new Shares() } = options;
    this.#options = options;
    this.#places = places;
    this.#lookMs = patienceMs / LOOKS;
    this.#shares = shares;
    shares.add(() => this.#running);
  }

  /** A turn that may have begun already. */
  line(demand: QueueDemand, options: TurnOptions = {}): Turn {
    const turn = new Turn(this, demand, options);
    this.#waiting.add(turn);
    if (demand.signal?.aborted) turn.drop(demand.signal.reason);
    this.refill();
    return turn;
  }

  /**
   * Asks about what waits, once that is worth it, unless the turn comes first. Says nothing when the
   * question fails.
   */
  async askWhileWaiting<Told>(
    turn: Turn,
    worth: Promise<void>,
    ask: () => Promise<Told>,
  ): Promise<Told | undefined> {
    const begun = turn.begun.then(() => undefined);
    begun.catch(() => undefined);
    const isWorth = worth.then(() => true);
    if (!(await Promise.race([begun, isWorth]))) return undefined;
    const asked = async (): Promise<Told | undefined> => (turn.isWaiting ? ask() : undefined);
    return Promise.race([
      begun,
      this.#heads.add(AsyncLocalStorage.bind(asked)).catch(() => undefined),
    ]);
  }

  /** Whether a transfer may ever have more than its own place while another one stays free. */
  get mayHaveExtras(): boolean {
    return this.#places > 2;
  }

  /**
   * Whether what runs for this demand may have one more connection: nobody waits, nobody more urgent is
   * served, and a place stays free for whoever comes.
   */
  hasPlaceForExtra(demand: QueueDemand): boolean {
    if (this.#waiting.size > 0 || this.#slow.size > 0) return false;
    return this.#hold(false) < this.#places - 1 && !this.#isOutranked(demand);
  }

  /** So many places from now on; what has one keeps it. */
  resize(places: number): void {
    this.#places = places;
    this.refill();
  }

  /** The turn's part. */
  remove(turn: Turn): void {
    for (const turns of [this.#waiting, this.#running, this.#slow]) turns.delete(turn);
    this.refill();
  }

  /** Begins what may begin; to be called when somebody joined or left a transfer. */
  refill(): void {
    this.#endUnread();
    for (let next = this.#next(); next; next = this.#next()) {
      this.#waiting.delete(next);
      this.#run(next);
    }
    this.#revoke();
    this.#watch();
    this.#options.lined?.(this.#waiting.size);
  }

  /**
   * Of those that nobody reads only so many wait. Beyond that one ends, the oldest that has not begun
   * or else the oldest, and its partial file stays for whoever asks next.
   */
  #endUnread(): void {
    let unread = 0;
    let first: Turn | undefined;
    for (const turn of this.#waiting) {
      if (!turn.demand.isAbandoned) continue;
      unread += 1;
      if (!first || (first.isResumed && !turn.isResumed)) first = turn;
    }
    if (unread > MAX_UNREAD) first?.drop(this.#dropped(TEXTS.tooManyUnread));
  }

  #next(): Turn | undefined {
    const isFull = this.#hold(false) >= this.#places;
    const isSmallFull = this.#hold(true) >= this.#places;
    const hasPlace = ({ isSmall }: Turn): boolean => !isFull || (isSmall && !isSmallFull);
    if (isFull && isSmallFull) return undefined;
    const mayPrefetch = this.#hasPlaceForPrefetch();
    return this.#first((turn) => hasPlace(turn) && (mayPrefetch || !turn.isPrefetch));
  }

  /** How many places are taken: a small blob takes a large one's only where no other is left. */
  #hold(isSmall: boolean): number {
    let small = 0;
    for (const turn of this.#running) if (turn.isSmall) small += 1;
    const own = Math.min(small, this.#places);
    return isSmall ? own : this.#running.size - own;
  }

  #first(isMeant: (turn: Turn) => boolean): Turn | undefined {
    let first: Turn | undefined;
    const standing = this.#shares.of(this.#running);
    for (const turn of this.#waiting) {
      if (!isMeant(turn)) continue;
      if (!first || isBefore(turn, first, standing)) first = turn;
    }
    return first;
  }

  #run(turn: Turn): void {
    this.#running.add(turn);
    if (turn.isWaiting) this.#options.began?.((performance.now() - turn.linedAt) / 1000);
    turn.move('running');
  }

  #hasPlaceForPrefetch(): boolean {
    const running = [...this.#running].filter((turn) => turn.isPrefetch).length;
    return running < Math.max(1, this.#places - 1);
  }

  /** Names the one that is to make way for the first of those that wait, if any. */
  #revoke(): void {
    const first = this.#first(({ isSmall, isExtra }) => !isSmall && !isExtra);
    let victim = first && isInteractive(first.demand) ? this.#victimOf(first) : undefined;
    for (const turn of this.#running) {
      turn.isRevoked = turn.isExtra && (first !== undefined || this.#isOutranked(turn.demand));
      if (turn.isRevoked) victim = undefined;
    }
    if (victim) victim.isRevoked = true;
  }

  /** Whether somebody more urgent is served. */
  #isOutranked({ priority }: QueueDemand): boolean {
    for (const { demand, isExtra } of this.#running) {
      if (!isExtra && demand.priority > priority) return true;
    }
    return false;
  }

  #victimOf(first: Turn): Turn | undefined {
    if (this.#hold(false) < this.#places) return undefined;
    const youngest = [...this.#running]
      .filter((turn) => !turn.isSmall && !turn.isFixed && !turn.isExtra)
      .toReversed();
    const unread = youngest.filter(({ demand }) => !isInteractive(demand));
    const [least] = unread.toSorted((a, b) => a.demand.priority - b.demand.priority);
    if (least) return least;
    const standing = this.#shares.of(this.#running);
    return youngest.find((turn) => standing.makesWay(turn, first));
  }

  /** Looks at the running ones while others wait. */
  #watch(): void {
    const isWanted = this.#waiting.size > 0 || this.#slow.size > 0;
    if (isWanted && !this.#looking) {
      this.#looking = setInterval(() => this.#look(), this.#lookMs).unref();
    } else if (!isWanted && this.#looking) {
      clearInterval(this.#looking);
      this.#looking = undefined;
    }
  }

  #look(): void {
    for (const turns of [this.#running, this.#slow]) {
      for (const turn of turns) turn.look(this.#lookMs);
    }
    for (const turn of this.#running) {
      if (turn.isStalled && this.#waiting.size > 0) this.#slowDown(turn);
    }
    for (const turn of this.#waiting) this.#endLate(turn);
    this.refill();
    for (const turn of this.#slow) if (!turn.isIdle) this.#speedUp(turn);
  }

  #endLate(turn: Turn): void {
    turn.waitedMs += this.#lookMs;
    if (turn.waitedMs < UNREAD_MS || isInteractive(turn.demand)) return;
    turn.drop(this.#dropped(TEXTS.noTurnWithin({ ms: UNREAD_MS })));
  }

  #dropped(reason: string): DroppedError {
    return new DroppedError(this.#options.upstream ?? '', reason);
  }

  #slowDown(turn: Turn): void {
    if (this.#slow.size >= MAX_SLOW || !this.#running.delete(turn)) return;
    this.#slow.add(turn);
    turn.move('slow');
    turn.onSlow?.(this.#lookMs * LOOKS);
  }

  /** Bytes come again: it takes a place that is free or idle, or waits for one. */
  #speedUp(turn: Turn): void {
    const idle = [...this.#running].find(({ isIdle, isSmall }) => isIdle && !isSmall);
    if (idle) this.#slowDown(idle);
    if (this.#hold(false) < this.#places) {
      this.#slow.delete(turn);
      this.#run(turn);
    } else turn.isRevoked = true;
  }
}

/** What was interrupted goes on before what has not begun. */
function isBefore(one: Turn, other: Turn, standing: Standing): boolean {
  if (one.isExtra !== other.isExtra) return other.isExtra;
  const [priority, otherPriority] = [one.demand.priority, other.demand.priority];
  if (priority !== otherPriority) return priority > otherPriority;
  const order = standing.compare(one, other);
  if (order !== 0) return order < 0;
  return one.isResumed && !other.isResumed;
}
