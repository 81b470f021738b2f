import type { Digest } from '../../src/oci/digest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Catalog, Member } from '../../src/store/catalog/catalog.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import { MemberMask } from './member-mask.ts';

export interface SurveyParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly signal: AbortSignal;
}

/** Looked at side by side. */
const BATCH = 64;
/** Beyond so many blobs they are looked at anew. */
const MAX_BLOBS = 20_000;

/** Looks at all manifests of one repository. */
export class RepositorySurvey {
  readonly #target: Target;
  readonly #parts: SurveyParts;
  /** Of the repository, those that are held by the records. */
  readonly #held: ReadonlySet<Digest>;
  readonly #masks = new Map<Digest, Promise<MemberMask | undefined>>();
  readonly #blobs = new Map<Digest, Promise<boolean>>();
  /** Manifests that a held one lists. */
  readonly #listed = new Set<Digest>();
  /** Manifests that have a subject. */
  readonly #attached = new Set<Digest>();

  constructor(target: Target, held: ReadonlySet<Digest>, parts: SurveyParts) {
    this.#target = target;
    this.#held = held;
    this.#parts = parts;
  }

  /**
   * What is served of the members of each manifest, unless another one says so: one that lists it, where
   * all of it is held, it has no tag and is no referrer. Rejects when the signal aborts.
   */
  async run(tagged: ReadonlyMap<Digest, unknown>): Promise<Map<Digest, MemberMask>> {
    const masks = new Map<Digest, MemberMask>();
    const digests = [...this.#held];
    for (let at = 0; at < digests.length; at += BATCH) {
      this.#parts.signal.throwIfAborted();
      const batch = digests.slice(at, at + BATCH);
      const found = await Promise.all(batch.map(async (digest) => this.#look(digest)));
      for (const [place, mask] of found.entries()) if (mask) masks.set(batch[place]!, mask);
      if (this.#blobs.size > MAX_BLOBS) this.#blobs.clear();
    }
    const isNamed = ([digest, mask]: [Digest, MemberMask]): boolean =>
      tagged.has(digest) ||
      this.#attached.has(digest) ||
      !this.#listed.has(digest) ||
      !mask.isWhole;
    return new Map([...masks].filter(isNamed));
  }

  /** `undefined` where the manifest itself is not held. */
  async #look(digest: Digest): Promise<MemberMask | undefined> {
    const known = this.#masks.get(digest) ?? this.#lookAtMembers(digest);
    this.#masks.set(digest, known);
    return known;
  }

  async #lookAtMembers(digest: Digest): Promise<MemberMask | undefined> {
    if (!this.#held.has(digest) || !(await this.#isKept(digest))) return undefined;
    const members = await this.#parts.catalog.members(digest);
    if (!members) return undefined;
    if (members.subject) this.#attached.add(digest);
    const whole = members.successors.map(async (member) => this.#isWhole(member));
    return MemberMask.of(await Promise.all(whole));
  }

  async #isWhole({ digest, mediaType }: Member): Promise<boolean> {
    if (isForeignType(mediaType)) return true;
    if (!isManifestType(mediaType)) return this.#isKept(digest);
    this.#listed.add(digest);
    return (await this.#look(digest))?.isWhole === true;
  }

  async #isKept(digest: Digest): Promise<boolean> {
    const known = this.#blobs.get(digest) ?? this.#lookAtFile(digest);
    this.#blobs.set(digest, known);
    return known;
  }

  /** As `findImageFiles` has it: on record, of that length, and come through this upstream. */
  async #lookAtFile(digest: Digest): Promise<boolean> {
    const { catalog, blobs } = this.#parts;
    const record = await catalog.findBlob(digest);
    if (!record || (await blobs.statBlob(digest))?.size !== record.size) return false;
    if ((await catalog.findLink(this.#target, digest)) === 'proven') return true;
    return (await catalog.originOf(digest, this.#target.upstream)) !== 'foreign';
  }
}
