import { MIN_BYTES_PER_SECOND } from '../../net/timing.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { PRIORITY, type Demand } from '../../upstream/demand.ts';

/** Whose transfer it is, as it is now; what is left out is wanted by one unknown client. */
export interface QueueDemand extends Demand {
  readonly isAbandoned?: boolean;
  readonly clients?: ReadonlySet<string>;
}

/** No client waited for it, and it waited for its turn for too long or with too many others. */
export class DroppedError extends UpstreamError {
  constructor(upstream: string, reason: string) {
    super(upstream, 'timeout', reason, { isUnasked: true });
  }
}

/** What a turn asks of the queue that it stands in. */
interface QueueOfTurns {
  remove(turn: Turn): void;
  refill(): void;
}

export interface TurnOptions {
  readonly isResumed?: boolean;
  readonly isExtra?: boolean;
}

/** Looks in the time of one patience. */
export const LOOKS = 2;
/** How long the first byte is waited for, in multiples of the wait for others: storage hosts and mirrors take their time over it. */
const FIRST_BYTE_FACTOR = 3;
/** Configs and other small blobs have places of their own, as many as the large ones. */
const SMALL_BYTES = 1024 * 1024;

/*
 *   waiting ──▶ running ──▶ over          a place is free, and nobody better waits
 *                │   ▲
 *                ▼   │                    it brings next to nothing while others wait;
 *                slow                     it brings more again, and there is a place
 *
 * A running one that is `revoked` gives its place up at its next chunk and waits again.
 */
type TurnState = 'waiting' | 'running' | 'slow' | 'over';

/** One transfer's place in the queue of its upstream. */
export class Turn implements Disposable {
  readonly demand: QueueDemand;
  /** On the clock of `performance.now()`. */
  readonly linedAt = performance.now();
  readonly #queue: QueueOfTurns;
  readonly #begun = Promise.withResolvers<void>();
  /** It has had a place before. */
  readonly isResumed: boolean;
  /** Of one more connection of a transfer that has a place: it makes way for whoever waits. */
  readonly isExtra: boolean;
  /** Told when the place was taken away because next to nothing came. */
  onSlow: ((patienceMs: number) => void) | undefined;
  state: TurnState = 'waiting';
  /** As the queue has seen it. */
  waitedMs = 0;
  /** The place is wanted by somebody who goes first. */
  isRevoked = false;
  /** It could not go on later from where it is. */
  isFixed = false;
  /** Bytes since the last look, and looks in a row that found too few. */
  #moved = 0;
  #idleLooks = 0;
  #isOpen = false;
  #size: number | undefined;

  constructor(
    queue: QueueOfTurns,
    demand: QueueDemand,
    { isResumed = false, isExtra = false }: TurnOptions = {},
  ) {
    this.#queue = queue;
    this.demand = demand;
    this.isResumed = isResumed;
    this.isExtra = isExtra;
    this.#begun.promise.catch(() => undefined);
    demand.signal?.addEventListener('abort', this.#leave, { once: true });
  }

  /** Resolves when the transfer may begin. Rejects when it is aborted or dropped before. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get isWaiting(): boolean {
    return this.state === 'waiting';
  }

  get isSmall(): boolean {
    return (this.#size ?? Infinity) <= SMALL_BYTES;
  }

  /** For whole images that no client has asked for: there may be many of them. */
  get isPrefetch(): boolean {
    const { priority } = this.demand;
    return priority < PRIORITY.hydration || priority === PRIORITY.warm;
  }

  /** Of the blob; a small one need not wait for the large ones. */
  set size(bytes: number) {
    this.#size = bytes;
    this.#queue.refill();
  }

  /** The queue's part. */
  move(state: 'running' | 'slow'): void {
    this.state = state;
    this.isRevoked = false;
    this.#begun.resolve();
  }

  /** The upstream has answered. */
  opened(): void {
    this.#isOpen = true;
    this.#idleLooks = 0;
  }

  drop(reason: unknown): void {
    this.#begun.reject(reason);
    this[Symbol.dispose]();
  }

  /** Bytes have come. */
  moved(bytes: number): void {
    this.#moved += bytes;
  }

  /** Looks whether bytes have come in this time. */
  look(afterMs: number): void {
    const isIdle = this.#moved * 1000 < MIN_BYTES_PER_SECOND * afterMs;
    this.#moved = 0;
    this.#idleLooks = isIdle ? this.#idleLooks + 1 : 0;
  }

  /** Next to nothing has come lately. */
  get isIdle(): boolean {
    return this.#idleLooks > 0;
  }

  /** Next to nothing has come for longer than others are made to wait. */
  get isStalled(): boolean {
    if (this.isRevoked) return this.isIdle;
    return this.#idleLooks >= (this.#isOpen ? LOOKS : LOOKS * FIRST_BYTE_FACTOR);
  }

  [Symbol.dispose](): void {
    this.demand.signal?.removeEventListener('abort', this.#leave);
    if (this.state === 'over') return;
    this.state = 'over';
    this.#queue.remove(this);
  }

  readonly #leave = (): void => {
    if (this.isWaiting) this.drop(this.demand.signal?.reason);
  };
}
