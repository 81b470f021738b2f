import { LRUCache } from 'lru-cache';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Answer } from './answer.ts';
import { withinDeadline } from './deadline.ts';
import type { SingleFlight } from './single-flight.ts';
import type { SourceRegistries } from './source-registry.ts';

export interface ListingsParts {
  readonly registries: SourceRegistries;
  readonly catalog: Catalog;
  readonly flight: SingleFlight;
  readonly now: () => number;
}

interface Listing<Item> {
  readonly items: readonly Item[] | undefined;
  readonly checkedAt: number;
}

const MAX_REMEMBERED = 1_000;

/** Lists that only an upstream knows in full; what is held stands in when it cannot be asked. */
export class Listings {
  readonly #parts: ListingsParts;
  readonly #tags = new LRUCache<string, Listing<Tag>>({ max: MAX_REMEMBERED });
  readonly #referrers = new LRUCache<string, Listing<Descriptor>>({ max: MAX_REMEMBERED });

  constructor(parts: ListingsParts) {
    this.#parts = parts;
  }

  /** In byte order. `value` is `undefined` when the upstream has no such repository. */
  async tags(target: Target): Promise<Answer<readonly Tag[]>> {
    const { registries, catalog } = this.#parts;
    return this.#list({
      target,
      remembered: this.#tags,
      key: `tags ${formatTarget(target)}`,
      ask: () => registries.of(target).upstream.listTags(target.repository),
      held: () => catalog.listTags(target),
    });
  }

  /** Descriptors of the manifests whose subject is the digest, whether that is held or not. */
  async referrers(target: Target, subject: Digest): Promise<Answer<readonly Descriptor[]>> {
    const { registries, catalog } = this.#parts;
    return this.#list({
      target,
      remembered: this.#referrers,
      key: `referrers ${formatTarget(target)} ${subject}`,
      ask: () => registries.of(target).upstream.listReferrers(target.repository, subject),
      held: () => catalog.listReferrers(target, subject),
    });
  }

  async #list<Item>(wanted: {
    target: Target;
    remembered: LRUCache<string, Listing<Item>>;
    key: string;
    ask: () => Promise<readonly Item[] | undefined>;
    held: () => Promise<readonly Item[]>;
  }): Promise<Answer<readonly Item[]>> {
    const { flight, now, registries } = this.#parts;
    const { policy } = registries.of(wanted.target);
    const known = wanted.remembered.get(wanted.key);
    const ageMs = known ? now() - known.checkedAt : Infinity;
    if (known && policy.isListingFresh(ageMs)) return { value: known.items, source: 'hit', ageMs };
    const asking = flight.do(wanted.key, async () => {
      const items = await wanted.ask();
      wanted.remembered.set(wanted.key, { items, checkedAt: now() });
      return items;
    });
    // Looked up beside the question, not behind it.
    const held = await wanted.held();
    const standIn = held.length > 0 || (known?.items?.length ?? 0) > 0;
    try {
      const items = await (standIn ? withinDeadline(registries, wanted.target, asking) : asking);
      return { value: items, source: 'miss' };
    } catch (error) {
      const isOffline = error instanceof UpstreamError && error.fault === 'offline';
      if (!(error instanceof UpstreamError) || (!standIn && !isOffline)) throw error;
      const value = known?.items ?? held;
      return { value, source: 'stale', warning: error.message, ...(known && { ageMs }) };
    }
  }
}
