import type { Pin } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, isSameTarget, type Tag } from '../../oci/reference.ts';
import { unitOf, type Evicted, type Node } from '../catalog/catalog.ts';
import type { EvictedImage, EvictorParts } from './evictor.ts';

export interface RemoverParts extends Pick<EvictorParts, 'catalog' | 'blobs' | 'pins' | 'evicted'> {
  /** Evicts a unit, or one tag of it alone, with its files. */
  readonly release: (unit: string, only?: Tag) => Promise<Evicted>;
}

/** An image by its digest or by one of its tags. */
export interface NamedImage extends Node {
  readonly tag?: Tag | undefined;
}

/** What keeps an image that was to be removed. */
export type Hindrance =
  | { readonly why: 'pinned'; readonly pins: readonly Pin[] }
  /** A file that only it has is being read or written. */
  | { readonly why: 'pulled' }
  | { readonly why: 'part'; readonly of: readonly Digest[] };

export interface Removed {
  readonly image: EvictedImage;
  /** What else holds the image: then it stays, and only the tag went. */
  readonly stays?: { readonly tags: readonly Tag[]; readonly partOf: readonly Digest[] };
}

/**
 * Takes one image out of the store by its name, however lately it was pulled, on the way that evictions
 * go. Of an image with other tags, or that is part of another one, a tag alone goes.
 */
export class Remover {
  readonly #parts: RemoverParts;

  constructor(parts: RemoverParts) {
    this.#parts = parts;
  }

  /** With `isPlan` it only says what that would do. */
  async remove(named: NamedImage, { isPlan }: { isPlan: boolean }): Promise<Removed | Hindrance> {
    const { catalog, release, evicted } = this.#parts;
    const { target, digest, tag } = named;
    const [node, unit] = [{ target, digest }, unitOf(target, digest)];
    const tags = (await catalog.tagsOf(node)).filter((each) => each !== tag);
    const partOf = await catalog.parents(node);
    const isTagAlone = tag !== undefined && tags.length + partOf.length > 0;
    const only = isTagAlone ? tag : undefined;
    const hindrance = await (only ? this.#ofTag(node, only) : this.#ofImage(node, partOf));
    if (hindrance) return hindrance;
    const lastPulledAt = (await catalog.lastPull(unit)) ?? 0;
    const gone = await (isPlan ? catalog.planEvictions() : release)(unit, only);
    const amount = { blobs: gone.blobs.length, bytes: gone.bytes };
    const image = { image: formatTarget(target), digest, tags: gone.tags, lastPulledAt, ...amount };
    if (!isPlan) evicted(image, 'request');
    return { image, ...(isTagAlone && { stays: { tags, partOf } }) };
  }

  async #ofTag(node: Node, tag: Tag): Promise<Hindrance | undefined> {
    const pins = this.#parts.pins.of({ ...node, tags: [tag] });
    return pins.length > 0 ? { why: 'pinned', pins } : undefined;
  }

  /** A pin of a part, or of what this is part of, keeps all of it. */
  async #ofImage(node: Node, partOf: readonly Digest[]): Promise<Hindrance | undefined> {
    const { catalog, pins } = this.#parts;
    const own = await catalog.below(node);
    const found = new Set<Pin>();
    for (const digest of new Set([...own, ...(await catalog.ancestors(node))])) {
      const each = { ...node, digest };
      for (const pin of pins.of({ ...each, tags: await catalog.tagsOf(each) })) found.add(pin);
    }
    if (found.size > 0) return { why: 'pinned', pins: [...found] };
    if (partOf.length > 0) return { why: 'part', of: partOf };
    return (await this.#isPulled(node, new Set(own))) ? { why: 'pulled' } : undefined;
  }

  async #isPulled(node: Node, own: ReadonlySet<Digest>): Promise<boolean> {
    const { catalog, blobs } = this.#parts;
    for (const manifest of own) {
      const listed = (await catalog.members(manifest))?.successors ?? [];
      for (const digest of [manifest, ...listed.map((member) => member.digest)]) {
        if (blobs.isBusy(digest) && (await this.#isAlone(digest, node, own))) return true;
      }
    }
    return false;
  }

  /** No manifest but those of the image lists it. */
  async #isAlone(digest: Digest, { target }: Node, own: ReadonlySet<Digest>): Promise<boolean> {
    for await (const holder of this.#parts.catalog.holders(digest)) {
      if (!isSameTarget(holder.target, target) || !own.has(holder.digest)) return false;
    }
    return true;
  }
}
