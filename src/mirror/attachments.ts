import { readAll } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import type { Tag, Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { BlobStore } from '../store/files/blob-store.ts';
import { INTERACTIVE } from '../upstream/demand.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { HeldManifest } from './held-manifests.ts';
import type { Listings } from './listings.ts';
import type { Manifests } from './manifests.ts';
import type { Tags } from './tags.ts';

export interface AttachmentsParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly downloads: Downloads;
  readonly listings: Listings;
  readonly manifests: Manifests;
  readonly tags: Tags;
}

/** Where something is looked for: only among what is held, or also at the upstream. */
export type Reach = 'held' | 'upstream';

/**
 * An image and what is attached to it, for who judges whether it may leave: this way no gate is asked. What
 * the upstream cannot say throws `UpstreamError`.
 */
export class Attachments {
  readonly #parts: AttachmentsParts;

  constructor(parts: AttachmentsParts) {
    this.#parts = parts;
  }

  /** The bytes of a manifest; `undefined` where there is none. */
  async manifest(target: Target, digest: Digest, reach: Reach): Promise<Buffer | undefined> {
    const { manifests } = this.#parts;
    const held =
      reach === 'held'
        ? await manifests.find(target, digest)
        : (await manifests.hold(target, digest, INTERACTIVE)).value;
    return held && bytesOf(held);
  }

  /** Also where the same was listed a moment ago the upstream is asked. */
  async referrers(target: Target, subject: Digest, reach: Reach): Promise<readonly Descriptor[]> {
    const { catalog, listings } = this.#parts;
    if (reach === 'held') return catalog.listReferrers(target, subject);
    const demand = { ...INTERACTIVE, isAnew: true };
    const { value = [], source, failure } = await listings.referrers(target, subject, demand);
    // A list that stands in for one that could not be had.
    if (source === 'stale' && failure) throw failure;
    return value;
  }

  /** What a tag means; `undefined` where there is none. */
  async tagged(target: Target, tag: Tag, reach: Reach): Promise<Digest | undefined> {
    const { catalog, tags } = this.#parts;
    if (reach === 'held') return (await catalog.findTag(target, tag))?.digest;
    return tags.refresh(target, tag, INTERACTIVE);
  }

  /** What a client gets by a tag, held or asked for as for any pull; `undefined` where there is none. */
  async meant(target: Target, tag: Tag): Promise<Digest | undefined> {
    return (await this.#parts.tags.resolve(target, tag, 'manifest', INTERACTIVE)).value;
  }

  /** The tags that mean a held manifest. */
  async tagsOf(target: Target, digest: Digest): Promise<readonly Tag[]> {
    return this.#parts.catalog.tagsOf({ target, digest });
  }

  /** `undefined` for one that is longer than `most`, or than it is said to be, or that nobody has. */
  async blob(
    target: Target,
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    { reach, most }: { readonly reach: Reach; readonly most: number },
  ): Promise<Buffer | undefined> {
    const { blobs, catalog } = this.#parts;
    if (size > most) return undefined;
    if (!(await catalog.findBlob(digest))) {
      if (reach === 'held' || !(await this.#fetch(target, { digest, size }))) return undefined;
    }
    const record = await catalog.findBlob(digest);
    return record && record.size <= most ? blobs.readBytes(digest) : undefined;
  }

  /** The size in a manifest is the word of its author: what turns out longer is left. */
  async #fetch(
    target: Target,
    { digest, size: most }: Pick<Descriptor, 'digest' | 'size'>,
  ): Promise<boolean> {
    let bytes = 0;
    const came = (more: number): void => void (bytes += more);
    try {
      return await this.#parts.downloads.hold(target, digest, { ...INTERACTIVE, most, came });
    } catch (error) {
      if (bytes > most) return false;
      throw error;
    }
  }

  /** Whether it is held as a manifest of this repository. */
  async isHeld(target: Target, digest: Digest): Promise<boolean> {
    return this.#parts.catalog.isHeld({ target, digest });
  }

  /** Whether it is known to be a manifest, of whichever repository. */
  async isManifest(digest: Digest): Promise<boolean> {
    return (await this.#parts.catalog.members(digest)) !== undefined;
  }

  /** Held manifests of this repository that list the digest; `asManifest`: those that list it as one. */
  async *holders(
    target: Target,
    digest: Digest,
    { asManifest }: { readonly asManifest: boolean },
  ): AsyncGenerator<Digest> {
    const { catalog } = this.#parts;
    for await (const holder of catalog.holdersIn(target, digest)) {
      const members = await catalog.members(holder);
      const isListed = members?.successors.some(
        (each) => each.digest === digest && isManifestType(each.mediaType) === asManifest,
      );
      if (isListed) yield holder;
    }
  }
}

async function bytesOf({ body, size }: HeldManifest): Promise<Buffer | undefined> {
  if (Buffer.isBuffer(body)) return body;
  const reader = await body();
  if (!reader) return undefined;
  try {
    return await readAll(reader, size);
  } finally {
    await reader.close();
  }
}
