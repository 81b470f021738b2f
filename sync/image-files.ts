import type { Digest } from '../src/oci/digest.ts';
import { isForeignType, isManifestType } from '../src/oci/media-types.ts';
import type { Member, Node } from '../src/store/catalog/catalog.ts';
import type { WantedParts } from './wanted-image.ts';
import type { SyncParts } from './parts.ts';
import { TEXTS } from './texts.ts';

/** A file that an image lacks. */
export interface MissingFile {
  readonly digest: Digest;
  readonly size: number;
  /** The platform of a manifest that an index names. */
  readonly platform?: string;
}

/** The size of an image and the files that it lacks, as far as its manifests are held. */
export interface ImageFiles {
  readonly bytes: number;
  /** In the order in which to fetch them. */
  readonly missing: readonly MissingFile[];
  readonly missingBytes: number;
  /** Manifests that its index lists and the upstream does not have: nothing of them can be fetched. */
  readonly withheld: readonly MissingFile[];
  /** The image has platforms, and none of them is wanted. */
  readonly isForOthers: boolean;
}

interface Parts extends Pick<SyncParts, 'catalog' | 'blobs'> {
  readonly source?: ManifestSource;
  /** Told of each file that the image is made of, held or not, and of one that several images share with each. */
  readonly found?: (digest: Digest, of: ImagePart) => void;
  /** Referrers that the catalog does not know yet. */
  readonly attached?: readonly Digest[];
}

/** The image itself, or what is attached to a manifest of it. */
export interface ImagePart {
  readonly digest: Digest;
  readonly subject?: Digest;
}

/** Fetches the manifests that are not held; without it they count as missing. */
export interface ManifestSource {
  /** False when the upstream has no such manifest. */
  readonly manifest: (digest: Digest) => Promise<boolean>;
  /**
   * Searches for referrers of a held manifest; the result is those that the catalog does not know.
   */
  readonly referrers: (digest: Digest) => Promise<readonly Digest[]>;
}

/**
 * Goes through an image from its root down, over the wanted platforms with their attestations,
 * signatures and SBOMs. A file counts as held when it is on the disk in full length.
 */
export async function findImageFiles(
  parts: Parts,
  node: Node,
  wants: WantedParts,
): Promise<ImageFiles> {
  const walk = new ImageWalk(parts, node, wants);
  for (const digest of [node.digest, ...(parts.attached ?? [])]) {
    await walk.visit(unknownMember(digest), { digest });
  }
  return walk.files;
}

class ImageWalk {
  readonly #parts: Parts;
  readonly #node: Node;
  readonly #wants: WantedParts;
  readonly #seen = new Set<Digest>();
  readonly #missing: MissingFile[] = [];
  readonly #withheld: MissingFile[] = [];
  #bytes = 0;
  #isOffered = false;
  #isTaken = false;

  constructor(parts: Parts, { target, digest }: Node, wants: WantedParts) {
    this.#parts = parts;
    this.#node = { target, digest };
    this.#wants = wants;
  }

  get files(): ImageFiles {
    return {
      bytes: this.#bytes,
      missing: this.#missing,
      withheld: this.#withheld,
      missingBytes: this.#missing.reduce((sum, { size }) => sum + size, 0),
      isForOthers: this.#isOffered && !this.#isTaken,
    };
  }

  async visit(member: Member, of: ImagePart): Promise<void> {
    const { digest, size, platform } = member;
    this.#parts.found?.(digest, of);
    if (this.#seen.has(digest)) return;
    this.#seen.add(digest);
    const { catalog, source } = this.#parts;
    const file = { digest, size, ...(platform !== undefined && { platform }) };
    if (source && !(await source.manifest(digest))) {
      this.#withheld.push(file);
      return;
    }
    if (!(await catalog.isHeld({ ...this.#node, digest }))) {
      this.#missing.push(file);
      return;
    }
    const successors = (await catalog.members(digest))?.successors ?? [];
    await this.#lookAt([member, ...this.#unseenBlobs(successors, of)]);
    for (const child of this.#chosen(successors)) await this.visit(child, of);
    if (this.#wants.referrers) await this.#visitReferrers(digest);
  }

  #unseenBlobs(members: readonly Member[], of: ImagePart): Member[] {
    return members.filter(({ digest, mediaType }) => {
      if (isManifestType(mediaType) || isForeignType(mediaType)) return false;
      this.#parts.found?.(digest, of);
      const isSeen = this.#seen.has(digest);
      this.#seen.add(digest);
      return !isSeen;
    });
  }

  /**
   * Held means a record in the catalog, a file of the recorded length, and bytes that came through
   * the image's own upstream: another one's are served only to whoever has them too.
   */
  async #lookAt(members: readonly Member[]): Promise<void> {
    const { catalog, blobs } = this.#parts;
    const { target } = this.#node;
    const digests = members.map(({ digest }) => digest);
    const records = await catalog.findBlobs(digests);
    const own = new Set(await catalog.provenOf(target, digests));
    for (const [place, { digest, size }] of members.entries()) {
      const record = records[place];
      const expected = record?.size ?? size;
      const file = record && (await blobs.statBlob(digest));
      const isHeld = file?.size === record?.size && record !== undefined;
      const isOwn = async (): Promise<boolean> =>
        own.has(digest) || (await catalog.originOf(digest, target.upstream)) !== 'foreign';
      if (isHeld && (await isOwn())) this.#bytes += expected;
      else this.#missing.push({ digest, size: expected });
    }
  }

  async #visitReferrers(digest: Digest): Promise<void> {
    const { catalog, source } = this.#parts;
    const found = (await source?.referrers(digest)) ?? [];
    for await (const referrer of catalog.referrers({ ...this.#node, digest })) {
      await this.#visitReferrer(referrer, digest);
    }
    for (const referrer of found) await this.#visitReferrer(referrer, digest);
  }

  async #visitReferrer(digest: Digest, subject: Digest): Promise<void> {
    await this.visit(unknownMember(digest), { digest, subject });
  }

  /** The manifests of an index that are wanted. */
  #chosen(successors: readonly Member[]): Member[] {
    const manifests = successors.filter(({ mediaType }) => isManifestType(mediaType));
    const platforms = manifests.filter(
      ({ platform, attests }) => attests === undefined && this.#isWanted(platform),
    );
    this.#isOffered ||= manifests.some(isOfPlatform);
    this.#isTaken ||= platforms.some(isOfPlatform);
    const chosen = new Set(platforms.map(({ digest }) => digest));
    const attestations = manifests.filter(
      ({ attests }) => this.#wants.referrers && attests !== undefined && chosen.has(attests),
    );
    return [...platforms, ...attestations];
  }

  #isWanted(platform: string | undefined): boolean {
    const { platforms } = this.#wants;
    if (platform === undefined || platforms === 'all') return true;
    const offered = withoutDefaultVariant(platform);
    return platforms
      .map(withoutDefaultVariant)
      .some((wanted) => offered === wanted || offered.startsWith(`${wanted}/`));
  }
}

/** What an index lists and its upstream does not have, by name. */
export function describeWithheld(withheld: readonly MissingFile[]): string {
  const names = withheld.map(({ platform, digest }) =>
    platform === undefined ? digest : `${platform} (${digest})`,
  );
  return TEXTS.withheld({ names: names.join(', ') });
}

function unknownMember(digest: Digest): Member {
  return { digest, size: 0, mediaType: '' };
}

function isOfPlatform({ platform, attests }: Member): boolean {
  return platform !== undefined && attests === undefined;
}

/** 64-bit ARM has one variant, v8, which some indexes leave out. */
function withoutDefaultVariant(platform: string): string {
  return platform.replace(/\/arm64\/v8$/, '/arm64');
}
