import type { UpstreamStatus } from '../api/status-api.ts';
import type { Target } from '../oci/reference.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { TransferQueue } from './downloads/transfer-queue.ts';
import type { Policy } from './policy.ts';

/** A configured upstream with what the engine keeps beside it. */
export interface SourceRegistry {
  readonly upstream: Upstream;
  readonly policy: Policy;
  readonly queue: TransferQueue;
}

export class SourceRegistries {
  readonly #byName: ReadonlyMap<string, SourceRegistry>;

  constructor(byName: ReadonlyMap<string, SourceRegistry>) {
    this.#byName = byName;
  }

  /** Targets are made from configured names only. */
  of(target: Pick<Target, 'upstream'>): SourceRegistry {
    const found = this.#byName.get(target.upstream);
    if (!found) throw new TypeError(`no upstream ${target.upstream} is configured`);
    return found;
  }

  get status(): UpstreamStatus[] {
    return [...this.#byName].map(([name, { upstream }]) => ({ name, ...upstream.status }));
  }

  async close(): Promise<void> {
    for (const { upstream } of this.#byName.values()) await upstream.close();
  }
}
