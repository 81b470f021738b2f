import type { Digest } from '../../src/oci/digest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Catalog, Member } from '../../src/store/catalog/catalog.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import { MemberMask } from './member-mask.ts';

export interface SurveyParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
}

/** Looks at what one repository holds. A verdict is remembered until `forget`. */
export class RepositorySurvey {
  readonly target: Target;
  readonly #parts: SurveyParts;
  readonly #manifests = new Map<Digest, Promise<MemberMask | undefined>>();
  readonly #blobs = new Map<Digest, Promise<boolean>>();

  constructor(target: Target, parts: SurveyParts) {
    this.target = target;
    this.#parts = parts;
  }

  /** How many verdicts are remembered. */
  get size(): number {
    return this.#manifests.size + this.#blobs.size;
  }

  forget(): void {
    this.#manifests.clear();
    this.#blobs.clear();
  }

  /** What is held of the members of a manifest; `undefined` where the manifest itself is not held. */
  async look(digest: Digest): Promise<MemberMask | undefined> {
    const known = this.#manifests.get(digest) ?? this.#look(digest);
    this.#manifests.set(digest, known);
    return known;
  }

  /** Whether a manifest is to be told: not when one that is held here lists it and all of it is held. */
  async isNamed(digest: Digest, mask: MemberMask): Promise<boolean> {
    const { catalog } = this.#parts;
    if (!mask.isWhole) return true;
    if ((await catalog.members(digest))?.subject) return true;
    for await (const holder of catalog.holdersIn(this.target, digest)) {
      if (await this.look(holder)) return false;
    }
    return true;
  }

  async #look(digest: Digest): Promise<MemberMask | undefined> {
    const { catalog } = this.#parts;
    if (!(await catalog.isHeld({ target: this.target, digest }))) return undefined;
    if (!(await this.#isKept(digest))) return undefined;
    const members = await catalog.members(digest);
    if (!members) return undefined;
    const whole = members.successors.map(async (member) => this.#isWhole(member));
    return MemberMask.of(await Promise.all(whole));
  }

  async #isWhole({ digest, mediaType }: Member): Promise<boolean> {
    if (isManifestType(mediaType)) return (await this.look(digest))?.isWhole === true;
    return isForeignType(mediaType) || this.#isKept(digest);
  }

  async #isKept(digest: Digest): Promise<boolean> {
    const known = this.#blobs.get(digest) ?? this.#lookAtFile(digest);
    this.#blobs.set(digest, known);
    return known;
  }

  /** As for `findImageFiles`: on record, of that length, and come through this upstream. */
  async #lookAtFile(digest: Digest): Promise<boolean> {
    const { catalog, blobs } = this.#parts;
    const record = await catalog.findBlob(digest);
    if (!record) return false;
    const [file, origin] = await Promise.all([
      blobs.statBlob(digest),
      catalog.originOf(digest, this.target.upstream),
    ]);
    return file?.size === record.size && origin !== 'foreign';
  }
}
