import type { Metrics } from '../observe/metrics.ts';
import { attachedSubject } from '../oci/cosign.ts';
import type { Digest } from '../oci/digest.ts';
import type { Tag, Target } from '../oci/reference.ts';
import type { Health, Pins } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';

/** What selects images for this site, and knows more of them than the catalog. */
export interface Selection {
  /** Whether its copy of the tag is this digest, complete and young enough. */
  isReady(image: {
    readonly target: Target;
    readonly tag: Tag;
    readonly digest: Digest;
  }): Promise<boolean>;
  /** Whether all that is attached to the image was looked for, and what there was is held. */
  isSearched(image: { readonly target: Target; readonly digest: Digest }): boolean;
}

export interface GoneTagsParts {
  readonly catalog: Catalog;
  readonly pins: Pins;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly selection: Selection;
}

/**
 * Held tags that the upstream said it has no more. They are gone, also while it cannot be asked,
 * unless a pin, as sync sets one for what its rules keep, keeps the image.
 */
export class GoneTags {
  readonly #parts: GoneTagsParts;

  constructor(parts: GoneTagsParts) {
    this.#parts = parts;
  }

  async has(target: Target, tag: Tag): Promise<boolean> {
    const record = await this.#parts.catalog.findTag(target, tag);
    return record?.goneAt !== undefined && !this.isKept(target, tag, record.digest);
  }

  /** Whether a pin keeps what the tag means here, whatever the upstream removes. */
  isKept(target: Target, tag: Tag, digest: Digest): boolean {
    const pins = this.#parts.pins.of({ target, digest, tags: [tag] });
    return pins.some(({ tags }) => tags?.includes(tag) ?? true);
  }

  /** Whether this site's copy of the tag's image is ready, so that no question is owed. */
  async isReady(target: Target, tag: Tag, digest: Digest): Promise<boolean> {
    return this.#parts.selection.isReady({ target, tag, digest });
  }

  /** Whether a tag that is not held is known never to have been: one of a subject whose own were looked for. */
  async wasNever(target: Target, tag: Tag): Promise<boolean> {
    const digest = attachedSubject(tag);
    if (digest === undefined) return false;
    const { catalog, selection } = this.#parts;
    return selection.isSearched({ target, digest }) || catalog.wasSearched({ target, digest });
  }

  async add(target: Target, tag: Tag, goneAt: number): Promise<void> {
    const { catalog, health, metrics } = this.#parts;
    const record = await catalog.findTag(target, tag);
    if (record?.goneAt !== undefined || !record) return;
    metrics.tagsGone.inc({ upstream: target.upstream });
    await health.recorded(catalog.recordTag(target, tag, { ...record, goneAt }));
  }
}
