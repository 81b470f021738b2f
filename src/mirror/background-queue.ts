import PQueue from 'p-queue';
import { Traces } from '../observe/traces.ts';
import type { Log } from '../observe/log.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, itemKey, type Target } from '../oci/reference.ts';
import type { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';

export interface BackgroundQueueOptions {
  /** Before the first attempt and between two of them. */
  readonly pauses: Backoff;
  readonly attempts: number;
  /** What the log says of an attempt that failed. */
  readonly failure: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is to be done about one manifest or blob. */
export interface BackgroundWork {
  readonly target: Target;
  readonly digest: Digest;
  /** The signal aborts when the queue is closed. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** The work with one upstream. */
interface Lane {
  readonly queue: PQueue;
  /** That waits or runs. */
  due: number;
  hour: { readonly since: number; begun: number };
}

/**
 * At a time with each upstream, one of which may be large or stand still. All together are bounded by
 * how many upstreams are configured, and none takes the places of another one.
 */
const PLACES = 2;
/** Most images that wait for one upstream, half a KiB each. One beyond that is due when a client asks again. */
const MAX_DUE = 5_000;
const LOOKS_AT_A_TIME = 2;
const MAX_LOOKS = 10_000;
/** What was looked up lately is not looked up with each request. */
const LOOKED_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * Work that no client waits for: once at a time for each manifest or blob, after a pause, and again
 * after a longer one when it fails. What it is decided from is looked up in the catalog first, which
 * waits for no upstream.
 */
export class BackgroundQueue {
  readonly #options: BackgroundQueueOptions;
  readonly #abort = new AbortController();
  readonly #lanes = new Map<string, Lane>();
  /** Work from when it is added until it is done or given up. */
  readonly #due = new Map<string, NodeJS.Timeout>();
  readonly #looks = new PQueue({ concurrency: LOOKS_AT_A_TIME });
  readonly #looked: ExpiringMap<string, true>;

  constructor(options: BackgroundQueueOptions) {
    this.#options = options;
    this.#looked = new ExpiringMap({ max: MAX_LOOKS, clock: options.clock });
  }

  /** What waits or runs. */
  get size(): number {
    return this.#due.size + this.#looks.size + this.#looks.pending;
  }

  get isClosed(): boolean {
    return this.#abort.signal.aborted;
  }

  has(target: Target, digest: Digest): boolean {
    return this.#due.has(itemKey(target, digest));
  }

  /** Runs at once, beside the work with upstreams, and once a minute for each manifest or blob. */
  look({ target, digest, run }: BackgroundWork): void {
    const key = itemKey(target, digest);
    if (this.isClosed || this.#looked.has(key) || this.#looks.size >= MAX_LOOKS) return;
    this.#looked.set(key, true, LOOKED_MS);
    void this.#looks.add(async () => {
      await run(this.#abort.signal).catch((err: unknown) => {
        this.#options.log.warn({ target: formatTarget(target), digest, err }, 'not looked up');
      });
    });
  }

  /** Nothing when it is due already. */
  add(work: BackgroundWork): void {
    const lane = this.#laneOf(work.target);
    if (this.isClosed || this.has(work.target, work.digest) || lane.due >= MAX_DUE) return;
    lane.due += 1;
    this.#plan(work, lane, 1);
  }

  /** Counts one more request to the upstream, unless it has had as many within the hour. */
  mayAsk(target: Target, anHour: number): boolean {
    const lane = this.#laneOf(target);
    const now = this.#options.clock.steady();
    if (now - lane.hour.since >= HOUR_MS) lane.hour = { since: now, begun: 0 };
    if (lane.hour.begun >= anHour) return false;
    lane.hour.begun += 1;
    return true;
  }

  /** Drops what waits, aborts what runs and waits for its end. */
  async close(): Promise<void> {
    this.#abort.abort();
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    const queues = [this.#looks, ...[...this.#lanes.values()].map(({ queue }) => queue)];
    for (const queue of queues) queue.clear();
    await Promise.all(queues.map(async (queue) => queue.onIdle()));
  }

  #plan(work: BackgroundWork, lane: Lane, attempt: number): void {
    const { pauses } = this.#options;
    const start = (): void => void lane.queue.add(async () => this.#run(work, lane, attempt));
    const timer = Traces.apart(() => setTimeout(start, pauses.after(attempt)).unref());
    this.#due.set(itemKey(work.target, work.digest), timer);
  }

  async #run(work: BackgroundWork, lane: Lane, attempt: number): Promise<void> {
    const { target, digest, run } = work;
    const { attempts, failure, log } = this.#options;
    try {
      await run(this.#abort.signal);
    } catch (err) {
      if (this.isClosed) return;
      log.info({ target: formatTarget(target), digest, err }, failure);
      if (attempt < attempts) return this.#plan(work, lane, attempt + 1);
    }
    this.#due.delete(itemKey(target, digest));
    lane.due -= 1;
  }

  #laneOf({ upstream }: Target): Lane {
    const known = this.#lanes.get(upstream);
    if (known) return known;
    const hour = { since: this.#options.clock.steady(), begun: 0 };
    const lane = { queue: new PQueue({ concurrency: PLACES }), due: 0, hour };
    this.#lanes.set(upstream, lane);
    return lane;
  }
}
