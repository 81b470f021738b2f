import { type Descriptor, readDescriptor } from '../oci/descriptor.ts';
import { essence, OCI_INDEX } from '../oci/media-types.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Demand } from './demand.ts';
import type { ListingReader } from './listing.ts';
import type { ReferrerList } from './upstream.ts';

interface ReferrersParts {
  readonly listings: ListingReader;
  readonly clock: Clock;
}

/** A request for the referrers of one subject. */
interface ReferrersRequest {
  /** Below `/v2/`. */
  readonly path: string;
  readonly scope: string;
  readonly demand: Demand;
  /** The descriptors of the index under the fallback tag; empty when there is no such tag. */
  readonly fallback: () => Promise<readonly Descriptor[]>;
}

const MAX_REMEMBERED = 10_000;
/** Statuses, beside 404, of registries that have no such API. */
const NO_API: ReadonlySet<number> = new Set([405, 406, 501]);
/** And of those that cannot answer it for this subject: Quay's 400, and what a router refuses. */
const NO_ANSWER: ReadonlySet<number> = new Set([...NO_API, 400, 414, 415]);
/** How long a registry is taken to have no such API: it may be upgraded. */
const REMEMBER_MS = 6 * 3_600_000;

/**
 * Referrers as the distribution spec defines them: the API where the registry has one, which is
 * probed and remembered for each repository of it, together with the tag that clients of registries
 * without it write. A registry says the same of a repository that it does not have: that is no word
 * about the one beside it.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export class Referrers {
  readonly #parts: ReferrersParts;
  /** Repositories that are taken to have no API. */
  readonly #without: ExpiringMap<string, true>;

  constructor(parts: ReferrersParts) {
    this.#parts = parts;
    this.#without = new ExpiringMap({ max: MAX_REMEMBERED, clock: parts.clock });
  }

  /** Throws `UpstreamError` when neither way could be asked. */
  async list(wanted: ReferrersRequest): Promise<ReferrerList> {
    const repository = wanted.path.slice(0, wanted.path.lastIndexOf('/referrers/'));
    const isWithout = this.#without.has(repository);
    const listed = isWithout ? undefined : await this.#ask(wanted, repository);
    const tagged = await wanted.fallback().catch((error: unknown) => {
      if (listed) return [];
      throw error;
    });
    const all = new Map([...tagged, ...(listed ?? [])].map((entry) => [entry.digest, entry]));
    const referrers = [...all.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    return { referrers, isComplete: listed !== undefined };
  }

  /** `undefined` when the registry does not have the API. */
  async #ask(
    { path, scope, demand }: ReferrersRequest,
    repository: string,
  ): Promise<Descriptor[] | undefined> {
    const wanted = {
      kind: 'referrers',
      field: 'manifests',
      path,
      scope,
      accept: OCI_INDEX,
      demand,
    } as const;
    let found: Descriptor[] | undefined;
    try {
      for await (const page of this.#parts.listings.pages(wanted, readDescriptor)) {
        if (found) {
          for (const entry of page.entries ?? []) found.push(entry);
        } else if (page.entries && essence(page.contentType) === OCI_INDEX) {
          found = [...page.entries];
        } else return undefined;
      }
    } catch (error) {
      // What a later page says is no word about the API, nor that there is too much of it.
      if (!(error instanceof UpstreamError) || error.isCostly || found) throw error;
      const { fault, status = 0 } = error;
      if (fault !== 'bad-response' && !NO_ANSWER.has(status)) throw error;
      // Not remembered: a page with 200, as Google's registries have sent, may be a portal on the
      // way, and Quay's 400 is about this subject alone.
      if (!NO_API.has(status)) return undefined;
    }
    if (!found) this.#without.set(repository, true, REMEMBER_MS);
    return found;
  }
}
