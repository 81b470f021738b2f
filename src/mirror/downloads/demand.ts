import type { Target } from '../../oci/reference.ts';
import { isInteractive, PRIORITY, type Demand } from '../../upstream/demand.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';
import type { AskedRanges } from './range-policy.ts';
import type { QueueDemand } from './turn.ts';

/**
 * Resolves when this many bytes, which have just come, may be passed on; at once when the signal
 * aborts. Never rejects.
 */
export type Pace = (bytes: number, signal: AbortSignal) => Promise<void>;

/** What one asker wants of a download. */
export interface DownloadDemand extends Pick<Demand, 'priority' | 'client' | 'signal'> {
  /** All of the blob, unless given. */
  readonly ranges?: AskedRanges | undefined;
  /** Of one that brings more bytes than all who want it have said here the rest is not fetched. */
  readonly most?: number | undefined;
  /** Told of bytes as they come. */
  readonly came?: ((bytes: number) => void) | undefined;
  /** Slows the download until someone with a higher priority and without a pace joins it. */
  readonly pace?: Pace | undefined;
}

/** One asker of a download, until it leaves. */
export interface Interest extends Disposable {
  readonly demand: DownloadDemand;
}

/**
 * What all who want a download want of it together, as it is now: it rises when one joins, and falls
 * when the last one leaves.
 */
export class SharedDemand implements Demand {
  readonly #abort = new AbortController();
  readonly #interests = new Set<Interest>();
  readonly #watchers = new Set<() => void>();
  readonly #wanted = Promise.withResolvers<void>();
  /** Aborts when the download need not keep to a pace any more. */
  #unpaced = new AbortController();
  #priority: number = PRIORITY.abandoned;
  #clients: ReadonlySet<string> = new Set();
  #client: string | undefined;
  #most = Infinity;
  #wantsWhole = false;
  #bytes = 0;

  constructor(first?: DownloadDemand) {
    if (first) this.join(first);
  }

  get priority(): number {
    return this.#priority;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Nobody waits for an abandoned download: it goes on for whoever asks next. */
  get isAbandoned(): boolean {
    return this.#interests.size === 0;
  }

  /** How many want it. */
  get count(): number {
    return this.#interests.size;
  }

  /** The clients that wait for it, each once; a client whose address is not known is `''`. */
  get clients(): ReadonlySet<string> {
    return this.#clients;
  }

  /** The only one of them. */
  get client(): string | undefined {
    return this.#client;
  }

  /** Somebody slows it, and nobody more urgent does not. */
  get isPaced(): boolean {
    return this.#pace !== undefined;
  }

  /** Resolves once a client waits for it. */
  get wantedByClient(): Promise<void> {
    return this.#wanted.promise;
  }

  /** Somebody has asked for all of it, who may have left. */
  get wantsWhole(): boolean {
    return this.#wantsWhole;
  }

  /** What each of them asks for. */
  get askers(): DownloadDemand[] {
    return [...this.#interests].map(({ demand }) => demand);
  }

  /** Until the result is disposed of, or the signal of who joins aborts. */
  join(demand: DownloadDemand): Interest {
    const leave = (): void => {
      demand.signal?.removeEventListener('abort', leave);
      if (this.#interests.delete(interest)) this.#change();
    };
    demand.signal?.addEventListener('abort', leave);
    const interest: Interest = { demand, [Symbol.dispose]: leave };
    this.#interests.add(interest);
    this.#wantsWhole ||= demand.ranges === undefined;
    if (isInteractive(demand)) this.#wanted.resolve();
    this.#change();
    if (demand.signal?.aborted) leave();
    return interest;
  }

  /** Calls whenever somebody joins or leaves. */
  watch(watcher: () => void): Disposable {
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => this.#watchers.delete(watcher) };
  }

  /** Resolves when this many bytes, which have just come, may be passed on. */
  async pass(bytes: number): Promise<void> {
    this.#bytes += bytes;
    for (const { demand } of this.#interests) demand.came?.(bytes);
    if (this.#bytes > this.#most) return this.abort();
    const { signal } = this.#unpaced;
    if (!signal.aborted) await this.#pace?.(bytes, signal);
  }

  abort(): void {
    this.#abort.abort();
    this.#unpaced.abort();
  }

  #change(): void {
    const demands = this.askers;
    const isLeft = demands.length === 0;
    this.#priority = isLeft
      ? PRIORITY.abandoned
      : Math.max(...demands.map((each) => each.priority));
    this.#clients = new Set(demands.filter(isInteractive).map(({ client = '' }) => client));
    if (!isLeft) this.#most = Math.max(...demands.map(({ most = Infinity }) => most));
    this.#client = this.#clients.size === 1 ? [...this.#clients][0] : undefined;
    if (!this.#pace) this.#unpaced.abort();
    else if (this.#unpaced.signal.aborted && !this.#abort.signal.aborted) {
      this.#unpaced = new AbortController();
    }
    for (const watcher of this.#watchers) watcher();
  }

  /** The pace of the first that joined with one; none where somebody more urgent joined without. */
  get #pace(): Pace | undefined {
    const demands = this.askers;
    const slowed = demands.find(({ pace }) => pace);
    const isHurried = demands.some(
      ({ pace, priority }) => !pace && slowed && priority > slowed.priority,
    );
    return isHurried ? undefined : slowed?.pace;
  }
}

/** The demand as it is at any time, for one request that ends by a signal of its own, too. */
export function until(demand: SharedDemand, signal: AbortSignal): QueueDemand {
  return {
    signal: AbortSignal.any([demand.signal, signal]),
    get priority() {
      return demand.priority;
    },
    get isAbandoned() {
      return demand.isAbandoned;
    },
    get clients() {
      return demand.clients;
    },
    get client() {
      return demand.client;
    },
  };
}

/** How long one client waits for a download; without a number it waits for ever. */
export class WaitLimit implements Disposable {
  readonly #ms: number | undefined;
  readonly #over = Promise.withResolvers<void>();
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(ms: number | undefined) {
    this.#ms = ms;
    if (ms !== undefined) this.#timer = setTimeout(() => this.#over.resolve(), ms);
  }

  /** Settles as the promise does, or rejects with what the download is late with. */
  async wait<Value>(
    download: { readonly target: Target; readonly isWaiting: boolean },
    promise: Promise<Value>,
  ): Promise<Value> {
    const late = this.#over.promise.then(() => {
      const { target, isWaiting } = download;
      const ms = this.#ms ?? 0;
      const reason = isWaiting ? TEXTS.noTurnWithin({ ms }) : TEXTS.noAnswerWithin({ ms });
      throw new UpstreamError(target.upstream, 'timeout', reason, { isUnasked: isWaiting });
    });
    return Promise.race([promise, late]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
