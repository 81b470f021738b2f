import type { Tag, Target } from '../oci/reference.ts';
import type { Catalog, TagRecord } from '../store/catalog/catalog.ts';
import { resolvedTag, type ResolvedTag } from './answer.ts';
import type { HeldManifest, RecalledManifest } from './held-manifests.ts';
import type { Manifests } from './manifests.ts';
import type { TagAges } from './tag-ages.ts';
import type { Upstreams } from './upstreams.ts';

interface HeldTagsParts {
  readonly catalog: Catalog;
  readonly manifests: Manifests;
  readonly upstreams: Upstreams;
}

/** The copies that are held of tags, and how much they count now. */
export class HeldTags {
  readonly #parts: HeldTagsParts;
  readonly #ages: TagAges;

  constructor(parts: HeldTagsParts, ages: TagAges) {
    this.#parts = parts;
    this.#ages = ages;
  }

  /** What is recorded of it, with the copy that is held; what the upstream says while they are read counts. */
  async find(target: Target, tag: Tag) {
    const { catalog, manifests } = this.#parts;
    for (let isSecond = false; ; isSecond = true) {
      const record = await catalog.findTag(target, tag);
      const held = record && (await manifests.find(target, record.digest));
      const known = held && this.copyOf(target, tag, record, held);
      if (isSecond || !this.#ages.hasHeardSince(target, tag, record?.checkedAt))
        return { record, known };
    }
  }

  /** A copy of what the record says; not fresh, nor anything else, where the upstream has the tag no more. */
  copyOf<Held extends HeldManifest>(target: Target, tag: Tag, record: TagRecord, value: Held) {
    const age = this.#ages.of(target, tag, record.checkedAt);
    const { policy } = this.#parts.upstreams.of(target);
    const isGone = record.goneAt !== undefined;
    const freshness = isGone ? undefined : policy.freshness(target.repository, tag, age.atMost);
    return { copy: { value, ageMs: age.atMost }, age, freshness };
  }

  /** One that is fresh, and in memory; `undefined` says nothing. */
  recall(target: Target, tag: Tag): ResolvedTag<RecalledManifest> | undefined {
    const { catalog, manifests } = this.#parts;
    const record = catalog.recent.tag(target, tag);
    const held = record && manifests.recall(target, record.digest)?.value;
    if (!held) return undefined;
    const { copy, freshness } = this.copyOf(target, tag, record, held);
    return freshness === 'fresh' ? resolvedTag({ ...copy, source: 'hit' }) : undefined;
  }
}
