import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Repository, Tag, Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Demand } from '../upstream/demand.ts';
import type { DownloadDemand } from './downloads/demand.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { Listings } from './listings.ts';
import type { Manifests } from './manifests.ts';
import type { Upstreams } from './upstreams.ts';
import type { Clock } from '../time/clock.ts';
import type { GoneTags } from './absences.ts';
import type { Tags } from './tags.ts';

export interface PrefetcherParts {
  readonly upstreams: Upstreams;
  readonly catalog: Catalog;
  readonly downloads: Downloads;
  readonly manifests: Manifests;
  readonly tags: Tags;
  readonly gone: GoneTags;
  readonly listings: Listings;
  readonly clock: Clock;
}

/**
 * Asks and fetches for sync, or to warm images, before any client does: its questions leave the
 * reserve of a quota to pulls, its transfers wait behind theirs. Everything throws `UpstreamError` when
 * the upstream cannot say.
 */
export class Prefetcher {
  readonly #parts: PrefetcherParts;
  readonly #demand: Demand;

  constructor(parts: PrefetcherParts, demand: Demand) {
    this.#parts = parts;
    this.#demand = demand;
  }

  /**
   * From the upstream, not from memory; `undefined` when it has no such repository. `most`: pages that
   * are read of it, where a longer list is not worth them.
   */
  async listTags(target: Target, most?: number): Promise<readonly Tag[] | undefined> {
    return this.#parts.listings.askTags(target, this.#demand, most);
  }

  /**
   * Whether the tag is in a list of all tags that the upstream gave so lately that a 404 from then
   * would still count; `undefined` without such a list. Asks nothing.
   */
  isListed(target: Target, tag: Tag): boolean | undefined {
    return this.#parts.listings.isListed(target, tag);
  }

  /** `undefined` when the registry does not list its repositories. */
  async listRepositories(upstream: string): Promise<readonly Repository[] | undefined> {
    return this.#upstream({ upstream }).listRepositories(this.#demand);
  }

  /** What the upstream says that the tag means; nothing is held for it but what only a GET tells. */
  async resolve(target: Target, tag: Tag): Promise<Digest | undefined> {
    const { gone, clock, manifests } = this.#parts;
    const askedAt = clock.wall();
    const head = await this.#upstream(target).headManifest(target.repository, tag, this.#demand);
    if (!head) await gone.add(target, tag, askedAt);
    // What it cost a pull to learn is not fetched again.
    if (head?.body) await manifests.keep(target, head.body, this.#demand);
    return head?.digest;
  }

  /** `isUntagged`: it is known that there is no fallback tag. */
  async referrers(
    target: Target,
    subject: Digest,
    how: { readonly isUntagged: boolean } = { isUntagged: false },
  ): Promise<readonly Descriptor[]> {
    const upstream = this.#upstream(target);
    return (await upstream.listReferrers(target.repository, subject, this.#demand, how)).referrers;
  }

  /** False when the upstream has no such manifest. Asks nothing when it is held. */
  async holdManifest(target: Target, digest: Digest): Promise<boolean> {
    const { catalog, manifests } = this.#parts;
    const isHeld = (await catalog.isHeld({ target, digest })) && (await catalog.findBlob(digest));
    return isHeld ? true : manifests.fetchKept(target, digest, this.#demand);
  }

  /** False when the upstream has no such blob. Asks nothing when the store has it, whoever's it is. */
  async holdBlob(
    target: Target,
    digest: Digest,
    options: Pick<DownloadDemand, 'pace' | 'came' | 'signal'> = {},
  ): Promise<boolean> {
    return this.#parts.downloads.hold(target, digest, { ...options, ...this.#demand });
  }

  #upstream(target: Pick<Target, 'upstream'>) {
    return this.#parts.upstreams.of(target).upstream;
  }
}
