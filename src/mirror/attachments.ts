import { readAll } from '../oci/content.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { digestOf, splitDigest, type Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import type { Tag, Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { BlobStore } from '../store/files/blob-store.ts';
import { INTERACTIVE } from '../upstream/demand.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { HeldManifest } from './held-manifests.ts';
import type { Listings } from './listings.ts';
import type { Manifests } from './manifests.ts';
import type { Tags } from './tags.ts';
import { TEXTS } from './texts.ts';
import type { Unkept } from './unkept.ts';

export interface AttachmentsParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly downloads: Downloads;
  readonly listings: Listings;
  readonly manifests: Manifests;
  readonly tags: Tags;
  readonly unkept: Unkept;
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
    const { manifests, unkept } = this.#parts;
    const known = unkept.manifest(target, digest);
    if (known) return known;
    const held =
      reach === 'held'
        ? await manifests.find(target, digest)
        : (await manifests.hold(target, digest, INTERACTIVE)).value;
    return held && bytesOf(held);
  }

  /** Also where the same was listed a moment ago the upstream is asked. */
  async referrers(target: Target, subject: Digest, reach: Reach): Promise<readonly Descriptor[]> {
    const { catalog, listings, unkept } = this.#parts;
    if (reach === 'held') {
      return [
        ...(await catalog.listReferrers(target, subject)),
        ...unkept.referrers(target, subject),
      ];
    }
    const demand = { ...INTERACTIVE, isAnew: true };
    const { value = [], source, failure } = await listings.referrers(target, subject, demand);
    // A list that stands in for one that could not be had.
    if (source === 'stale' && failure) throw failure;
    return value;
  }

  /** What a tag means; `undefined` where there is none. */
  async tagged(target: Target, tag: Tag, reach: Reach): Promise<Digest | undefined> {
    const { catalog, tags, unkept } = this.#parts;
    if (reach === 'held') {
      return unkept.tagged(target, tag) ?? (await catalog.findTag(target, tag))?.digest;
    }
    const digest = await tags.refresh(target, tag, INTERACTIVE);
    if (digest) unkept.addTag(target, tag, digest);
    return digest;
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
    const { catalog, blobs, unkept } = this.#parts;
    if (size > most) return undefined;
    const known = unkept.blob(digest);
    if (known) return known;
    if (!(await catalog.findBlob(digest))) {
      const came = reach === 'held' ? 'absent' : await this.#fetch(target, { digest, size });
      if (came === 'absent') return undefined;
      if (came !== 'held') return this.#passOn(target, { digest, size, fault: came });
    }
    const record = await catalog.findBlob(digest);
    return record && record.size <= most ? blobs.readBytes(digest) : undefined;
  }

  /**
   * The size in a manifest is the word of its author: what turns out longer is left. An error says why the disk
   * did not take it.
   */
  async #fetch(
    target: Target,
    { digest, size: most }: Pick<Descriptor, 'digest' | 'size'>,
  ): Promise<'held' | 'absent' | Error> {
    const { catalog, downloads } = this.#parts;
    let bytes = 0;
    const came = (more: number): void => void (bytes += more);
    try {
      const isThere = await downloads.hold(target, digest, { ...INTERACTIVE, most, came });
      if (!isThere) return 'absent';
    } catch (error) {
      if (bytes > most) return 'absent';
      if (error instanceof UpstreamError || !(error instanceof Error)) throw error;
      return error;
    }
    return (await catalog.findBlob(digest)) ? 'held' : new Error(TEXTS.unkept);
  }

  /** What the disk does not take: once more, into memory. */
  async #passOn(
    target: Target,
    { digest, size, fault }: Pick<Descriptor, 'digest' | 'size'> & { readonly fault: Error },
  ): Promise<Buffer | undefined> {
    const { downloads, unkept } = this.#parts;
    const demand = { ...INTERACTIVE, most: size };
    const found = await downloads.passOn(target, digest, demand, { size, fault });
    if (!found) return undefined;
    using _ = found.interest;
    const reader = await found.content.open();
    try {
      const bytes = await readAll(reader, size);
      if (digestOf(bytes, splitDigest(digest).algorithm) !== digest) return undefined;
      unkept.addBlob(digest, bytes);
      return bytes;
    } finally {
      await reader.close();
    }
  }

  /** Whether it is held as a manifest of this repository. */
  async isHeld(target: Target, digest: Digest): Promise<boolean> {
    return this.#parts.catalog.isHeld({ target, digest });
  }

  /** Whether it is known to be a manifest, of whichever repository. */
  async isManifest(digest: Digest): Promise<boolean> {
    const { catalog, unkept } = this.#parts;
    const successors = (await catalog.members(digest))?.successors ?? unkept.successors(digest);
    return successors !== undefined;
  }

  /** Manifests here of this repository that list the digest; `asManifest`: those that list it as one. */
  async *holders(
    target: Target,
    digest: Digest,
    { asManifest }: { readonly asManifest: boolean },
  ): AsyncGenerator<Digest> {
    const { catalog, unkept } = this.#parts;
    const isIt = ({ digest: part, mediaType }: Pick<Descriptor, 'digest' | 'mediaType'>): boolean =>
      part === digest && isManifestType(mediaType) === asManifest;
    for await (const holder of catalog.holdersIn(target, digest)) {
      const members = await catalog.members(holder);
      if (members?.successors.some(isIt)) yield holder;
    }
    yield* unkept.holders(target, isIt);
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
