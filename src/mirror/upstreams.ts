import type { UpstreamStatus } from '../api/status-api.ts';
import type { HydrateMode, UpstreamConfig } from '../config/config.ts';
import type { Timing } from '../net/timing.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { Connections } from './downloads/connections.ts';
import { RangePolicy } from './downloads/range-policy.ts';
import { Shares } from './downloads/shares.ts';
import { TransferQueue } from './downloads/transfer-queue.ts';
import { Policy } from './policy.ts';
import { TEXTS } from './texts.ts';

/** What counts for all upstreams. */
export interface UpstreamLimits {
  /** Never open a connection any more. */
  readonly isOffline: boolean;
  /** Transfers that one client may have begun while others want some; without a limit if left out. */
  readonly downloads?: number | undefined;
}

/** A configured upstream with what the engine keeps beside it. */
export interface MirroredUpstream {
  readonly upstream: Upstream;
  readonly policy: Policy;
  readonly queue: TransferQueue;
  readonly connections: Connections;
  readonly ranges: RangePolicy;
  readonly hydrate: HydrateMode;
}

/** An upstream as it is configured, with what asks it. */
export interface ConfiguredUpstream {
  readonly config: Pick<UpstreamConfig, 'tags' | 'concurrency' | 'segments' | 'ranges' | 'hydrate'>;
  readonly upstream: Upstream;
}

/** The configured upstreams by name. */
export class Upstreams {
  readonly #parts: { readonly timing: Timing; readonly metrics: Metrics };
  readonly #shares = new Shares();
  #byName: ReadonlyMap<string, MirroredUpstream> = new Map();
  /** Upstreams that the configuration names no more, by name: requests that began before still use them. */
  readonly #former = new Map<string, MirroredUpstream>();
  /** Upstreams that a reload replaced, as long as a transfer still uses them. */
  readonly #left = new Set<WeakRef<Upstream>>();

  constructor(
    configured: ReadonlyMap<string, ConfiguredUpstream>,
    parts: {
      timing: Timing;
      metrics: Metrics;
      limits?: Omit<UpstreamLimits, 'isOffline'> | undefined;
    },
  ) {
    this.#parts = parts;
    this.configure(configured, { ...parts.limits, isOffline: false });
  }

  /**
   * These from now on. Whatever began goes on with what it began with; the transfers of one name share
   * one queue, before and after. An upstream that was left keeps nothing open but connections in use,
   * and opens none any more once the mirror is offline.
   */
  configure(
    configured: ReadonlyMap<string, ConfiguredUpstream>,
    { isOffline, downloads }: UpstreamLimits,
  ): void {
    this.#shares.configure(downloads);
    for (const [name, entry] of this.#byName) {
      if (configured.get(name)?.upstream === entry.upstream) continue;
      this.#left.add(new WeakRef(entry.upstream));
      if (!configured.has(name)) this.#former.set(name, entry);
    }
    for (const left of this.#left) {
      const upstream = left.deref();
      if (upstream) upstream.leave({ isOffline });
      else this.#left.delete(left);
    }
    this.#byName = new Map(
      [...configured].map(([name, { config, upstream }]) => {
        const { tags, concurrency, segments, hydrate } = config;
        const before = this.#byName.get(name) ?? this.#former.get(name);
        this.#former.delete(name);
        const queue = before?.queue ?? this.#createQueue(name, concurrency);
        queue.resize(concurrency);
        const connections = before?.connections ?? new Connections();
        connections.configure(segments);
        const ranges = before?.ranges ?? new RangePolicy();
        ranges.configure(config.ranges, { isHydrated: hydrate !== 'off' });
        return [name, { upstream, policy: new Policy(tags), queue, connections, ranges, hydrate }];
      }),
    );
  }

  #createQueue(upstream: string, places: number): TransferQueue {
    const { timing, metrics } = this.#parts;
    return new TransferQueue(places, {
      patienceMs: timing.turnMs,
      upstream,
      shares: this.#shares,
      lined: (count) => metrics.queueWaiting.set({ upstream }, count),
      began: (seconds) => metrics.queueWaitSeconds.observe({ upstream }, seconds),
    });
  }

  /** How much is fetched ahead of demand; nothing from an upstream that is configured no more. */
  modeOf({ upstream }: Pick<Target, 'upstream'>): HydrateMode {
    return this.#byName.get(upstream)?.hydrate ?? 'off';
  }

  /** Targets are made from configured names only. */
  of(target: Pick<Target, 'upstream'>): MirroredUpstream {
    const found = this.#byName.get(target.upstream) ?? this.#former.get(target.upstream);
    if (!found) throw new TypeError(`no upstream ${target.upstream} is configured`);
    return found;
  }

  /**
   * Settles as the question to the target's upstream does, or rejects when that takes longer than a
   * client with a held copy is made to wait: the configured time, and none while the upstream is
   * down or suspected of it. The question goes on.
   */
  async withinDeadline<Value>(
    target: Pick<Target, 'upstream'>,
    question: Promise<Value>,
  ): Promise<Value> {
    const { policy, upstream } = this.of(target);
    const { revalidateTimeoutMs } = policy;
    // When the deadline wins, its end is nobody's surprise.
    question.catch(() => undefined);
    const { state, reason = '' } = upstream.status;
    if (state === 'down')
      throw new UpstreamError(target.upstream, 'unreachable', TEXTS.upstreamIsDown({ reason }));
    if (state === 'suspect') throw new UpstreamError(target.upstream, 'timeout', reason);
    const deadline = Promise.withResolvers<never>();
    const suspect = upstream.watch();
    const timer = setTimeout(() => {
      const reason = TEXTS.noAnswerWithin({ ms: revalidateTimeoutMs });
      suspect(reason);
      deadline.reject(new UpstreamError(target.upstream, 'timeout', reason));
    }, revalidateTimeoutMs);
    try {
      return await Promise.race([question, deadline.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  get count(): number {
    return this.#byName.size;
  }

  get status(): UpstreamStatus[] {
    return [...this.#byName].map(([name, { upstream }]) => ({ name, ...upstream.status }));
  }

  /** Sets the gauges of each, and of no former one. */
  show(): void {
    this.#parts.metrics.clearUpstreams();
    for (const { upstream } of this.#byName.values()) upstream.show();
  }

  async close(): Promise<void> {
    const all = [...this.#byName.values()].map(({ upstream }) => upstream);
    const left = [...this.#left].flatMap((each) => each.deref() ?? []);
    await Promise.all([...all, ...left].map(async (upstream) => upstream.close()));
  }
}
