import { parseTagGlob } from '../config/glob.ts';
import type { TagsConfig } from '../config/config.ts';
import type { Repository, Tag } from '../oci/reference.ts';

/**
 * - `fresh`: answer without asking upstream.
 * - `usable`: answer at once, ask upstream behind it.
 * - `expired`: ask upstream first.
 */
export type Freshness = 'fresh' | 'usable' | 'expired';

/** How long what is held about tags counts, for one upstream. Times are milliseconds. */
export class Policy {
  readonly #config: TagsConfig;
  readonly #immutable: ((repository: Repository, tag: Tag) => boolean)[];

  constructor(config: TagsConfig) {
    this.#config = config;
    this.#immutable = config.immutable.map(parseTagGlob);
  }

  get revalidateTimeoutMs(): number {
    return this.#config.revalidateTimeoutMs;
  }

  get negativeTtlMs(): number {
    return this.#config.negativeTtlMs;
  }

  judge(repository: Repository, tag: Tag, ageMs: number): Freshness {
    const { ttlMs, staleWhileRevalidateMs } = this.#config;
    if (this.#immutable.some((matches) => matches(repository, tag))) return 'fresh';
    if (this.isFresh(ageMs)) return 'fresh';
    return ageMs >= 0 && ageMs < ttlMs + staleWhileRevalidateMs ? 'usable' : 'expired';
  }

  /** A clock that went backwards makes a negative age: nothing can be said, so it is not fresh. */
  isFresh(ageMs: number): boolean {
    return ageMs >= 0 && ageMs < this.#config.ttlMs;
  }

  /** Whether a copy of this age may stand in while the upstream fails. */
  mayServeStale(ageMs: number): boolean {
    return ageMs <= this.#config.staleIfErrorMs;
  }
}
