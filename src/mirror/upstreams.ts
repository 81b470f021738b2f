import type { UpstreamStatus } from '../api/status-api.ts';
import type { Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { TransferQueue } from './downloads/transfer-queue.ts';
import type { Policy } from './policy.ts';
import { TEXTS } from './texts.ts';

/** A configured upstream with what the engine keeps beside it. */
export interface MirroredUpstream {
  readonly upstream: Upstream;
  readonly policy: Policy;
  readonly queue: TransferQueue;
}

/** The configured upstreams by name. */
export class Upstreams {
  readonly #byName: ReadonlyMap<string, MirroredUpstream>;

  constructor(byName: ReadonlyMap<string, MirroredUpstream>) {
    this.#byName = byName;
  }

  /** Targets are made from configured names only. */
  of(target: Pick<Target, 'upstream'>): MirroredUpstream {
    const found = this.#byName.get(target.upstream);
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

  async close(): Promise<void> {
    for (const { upstream } of this.#byName.values()) await upstream.close();
  }
}
