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

  freshness(repository: Repository, tag: Tag, ageMs: Age): Freshness {
    const { ttlMs, staleWhileRevalidateMs } = this.#config;
    if (this.isImmutable(repository, tag)) return 'fresh';
    if (this.isFresh(ageMs)) return 'fresh';
    return isYounger(ageMs, ttlMs + staleWhileRevalidateMs) ? 'usable' : 'expired';
  }

  isImmutable(repository: Repository, tag: Tag): boolean {
    return this.#immutable.some((matches) => matches(repository, tag));
  }

  isFresh(ageMs: Age): boolean {
    return isYounger(ageMs, this.#config.ttlMs);
  }

  /** Whether what an upstream does not have is still believed to be absent. */
  isStillAbsent(ageMs: Age): boolean {
    return isYounger(ageMs, this.#config.negativeTtlMs);
  }

  /** Whether a copy of this age may stand in while the upstream fails. */
  mayServeStale(ageMs: Age): boolean {
    return ageMs === undefined || ageMs <= this.#config.staleIfErrorMs;
  }
}

/** Milliseconds; `undefined` for what was written by a clock that ran ahead: never fresh. */
type Age = number | undefined;

function isYounger(ageMs: Age, limitMs: number): boolean {
  return ageMs !== undefined && ageMs < limitMs;
}
