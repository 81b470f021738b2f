import type { Pin } from '../../api/store-api.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import {
  itemKey,
  splitTarget,
  type Repository,
  type Tag,
  type Target,
} from '../../oci/reference.ts';
import type { AdmissionFacts } from './admission-facts.ts';
import type { Usage } from './held-count.ts';
import type { ManifestRecord, RecentRecords, TagRecord } from './recent-records.ts';
import type { ScanRecords } from './scan-records.ts';

export type { AdmissionFacts, Finding } from './admission-facts.ts';
export type { Usage } from './held-count.ts';
export type { ManifestRecord, TagRecord } from './recent-records.ts';

/** A manifest of a repository. */
export interface Node {
  readonly target: Target;
  readonly digest: Digest;
}

/** When the upstream last said what of a tag stands in its record. */
export function saidAt({ checkedAt, goneAt }: Pick<TagRecord, 'checkedAt' | 'goneAt'>): number {
  return goneAt ?? checkedAt;
}

export interface BlobRecord {
  readonly size: number;
  readonly storedAt: number;
  /** Whose it is, which mostly sent it; left out where nobody remembers, as after a rebuild. */
  readonly upstream?: string;
  /** The bundle that brought it: series and number, with a space between. */
  readonly bundle?: string;
  /** An OCI layout or a docker-archive brought it. */
  readonly layout?: true;
  /** The file's change time when its bytes were last known to be right, milliseconds. */
  readonly changedAt?: number;
  /** When all of it was last read and found right. */
  readonly verifiedAt?: number;
}

/** What a manifest lists, and its subject; the same in every repository. */
export interface Members {
  readonly successors: readonly Member[];
  readonly subject?: Digest;
}

export interface Member {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  /** `linux/arm64/v8` */
  readonly platform?: string;
  /** The platform's manifest that this attestation of BuildKit is about. */
  readonly attests?: Digest;
}

/**
 * `proven`: the upstream served this digest from this repository. `claimed`: a manifest of the
 * repository lists it, which is not yet proof that the repository may read it.
 */
export type Link = 'proven' | 'claimed';

export type Origin = 'own' | 'foreign' | 'unknown';

/** A manifest as it enters the catalog. */
export interface ManifestEntry {
  readonly descriptor: Descriptor;
  readonly successors: readonly Descriptor[];
  readonly subject?: Digest;
  /** Tags that the upstream says mean this manifest, and when it said so. */
  readonly tags: readonly ({ readonly tag: Tag } & Omit<TagRecord, 'digest'>)[];
  /** False: no client has asked for it. Its last pull is then a moment before it was stored. */
  readonly isPulled?: boolean;
  /** Blobs that its repository is known to have beside what was proven before. */
  readonly proven?: readonly Digest[];
  /** When the repository was first seen to have it, where the catalog cannot know. */
  readonly seenAt?: number;
}

/** What a tag is to mean. */
export interface TagMeaning {
  readonly target: Target;
  readonly tag: Tag;
  readonly record: TagRecord;
}

/** A tag that means another manifest than this one from now on, and when the upstream last said that it did. */
export interface MovedTag {
  readonly tag: Tag;
  readonly from: Digest;
  readonly saidAt: number;
}

export interface PinChange {
  readonly recorded?: readonly Pin[];
  readonly forgotten?: readonly Pick<Pin, 'origin' | 'image'>[];
}

/** When a unit was last pulled, and how many pulls of it are to be added. */
export interface PullTally {
  readonly at: number;
  readonly count: number;
}

/** What the eviction of a unit removes. */
export interface Evicted {
  readonly tags: readonly Tag[];
  readonly manifests: readonly Node[];
  /** Digests whose repository lost its link to them, besides those of `manifests`. */
  readonly unlinked: readonly Node[];
  /** Blobs that nothing holds any more: their files may be removed. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
  readonly bytes: number;
  /** Manifests that were part of the unit and stay as images, since they have a tag. */
  readonly left: readonly Node[];
}

/**
 * One line of the journal: what the files of blobs do not say themselves. `of` is a target,
 * `upstream/repository`; times are milliseconds since 1970. A later entry replaces an earlier one
 * about the same thing.
 */
export type JournalEntry =
  | {
      readonly manifest: Digest;
      readonly of: string;
      readonly type: string;
      readonly at: number;
      /** When the repository was first seen to have it; left out where that is `at`. */
      readonly seen?: number;
    }
  | {
      readonly tag: Tag;
      readonly of: string;
      readonly is: Digest;
      readonly at: number;
      /** When the upstream said that it has the tag no more. */
      readonly until?: number;
    }
  /** The repository was seen to have this blob, which no manifest there lists. */
  | { readonly blob: Digest; readonly of: string }
  | { readonly gone: Digest; readonly of: string }
  | { readonly untagged: Tag; readonly of: string }
  | { readonly pin: Pin }
  | { readonly unpin: Pick<Pin, 'origin' | 'image'> };

/**
 * What is known of the bytes on disk, one method a fact; a fact that a method records is recorded as
 * a whole or not at all. The upstream is part of every fact but those of a blob's bytes. A lost
 * catalog loses no bytes: it can be made anew from the files and the journal. Times are
 * milliseconds since 1970.
 */
export interface Catalog {
  /** Exact once `counted` has settled, a moment after the start. */
  readonly usage: Usage;
  /** Settles when what earlier runs recorded is counted. */
  readonly counted: Promise<void>;
  /** What is known of manifests for who judges them, and what a scanner said of them. */
  readonly admission: AdmissionFacts;
  readonly scans: ScanRecords;
  readonly recent: RecentRecords;

  // Tags.

  findTag(target: Target, tag: Tag): Promise<TagRecord | undefined>;
  /** The same of many, in the order of the tags. */
  findTags(target: Target, tags: readonly Tag[]): Promise<(TagRecord | undefined)[]>;
  /**
   * What the upstream said that a tag means, or that it has the tag no more. An answer older than the recorded one changes nothing,
   * unless the recorded one lies in the future, written by a clock that ran ahead. Nothing is
   * recorded of a manifest that is not held.
   */
  recordTag(target: Target, tag: Tag, record: TagRecord): Promise<void>;
  /**
   * What all of these tags mean from now on, whatever was known of them: a reader sees all as they were
   * before, or all as they are then. Rejects, and moves none, when one of the manifests is not held.
   */
  setTags(meanings: readonly TagMeaning[]): Promise<void>;
  /** In byte order, as the tags list of the distribution spec wants it. */
  listTags(target: Target): Promise<Tag[]>;
  /** All tags that the upstream says it has, in byte order; `undefined` when it does not say, or no more. */
  recordTagList(target: Target, tags: readonly Tag[] | undefined, now: number): Promise<void>;
  /** As last recorded; `undefined` also where it was too long, or a tag was evicted that it lacks. */
  findTagList(target: Target): Promise<readonly Tag[] | undefined>;
  /** The tags that mean this manifest. */
  tagsOf(node: Node): Promise<Tag[]>;
  /** Every tag of every repository. */
  tags(): AsyncIterable<{ target: Target; tag: Tag; record: TagRecord }>;

  // Manifests of a repository.

  findManifest(target: Target, digest: Digest): Promise<ManifestRecord | undefined>;
  /** With its blob, what it lists, its place among its subject's referrers, and its tags as by `recordTag`. */
  recordManifest(target: Target, entry: ManifestEntry, now: number): Promise<void>;
  /** Whether it is held as a manifest of the repository. */
  isHeld(node: Node): Promise<boolean>;
  /** Of these digests, those that are held as manifests of the repository. */
  heldOf(target: Target, digests: readonly Digest[]): Promise<Digest[]>;
  /** Whether a manifest of the repository is held. */
  hasManifests(target: Target): Promise<boolean>;
  /** Every held manifest of every repository. */
  manifests(): AsyncIterable<Node & { record: ManifestRecord }>;
  /** Repositories of which a manifest is held, in byte order. */
  listRepositories(upstream: string): Promise<Repository[]>;
  /** Manifests held in this repository whose subject is this digest. */
  listReferrers(target: Target, subject: Digest): Promise<Descriptor[]>;

  // How held manifests hang together: an index holds its platforms, a manifest its config and
  // layers, a subject its referrers. A root is held by nothing; with all below it, it is an image.

  members(digest: Digest): Promise<Members | undefined>;
  /** Manifests of the same repository that list it, and its subject, as far as they are held. */
  parents(node: Node, limit?: number): Promise<Digest[]>;
  isRoot(node: Node): Promise<boolean>;
  /** Manifests of this repository that list the digest. */
  holdersIn(target: Target, digest: Digest): AsyncIterable<Digest>;
  /** Every repository's manifests that list the digest, and the digest itself where it is one. */
  holders(digest: Digest): AsyncIterable<Node>;
  /** Held manifests about this one, by the referrers API and by cosign's tags. */
  referrers(node: Node): AsyncIterable<Digest>;
  /** All that could be attached to it was asked for, and what there was is held. */
  recordSearch(node: Node): Promise<void>;
  /** Not once any of it was evicted. */
  wasSearched(node: Node): Promise<boolean>;
  /** Held manifests that this one belongs to by one of its tags, in cosign's naming. */
  attachedTo(node: Node): Promise<Digest[]>;
  /** The manifest and all above it that it is part of. */
  ancestors(node: Node): Promise<Digest[]>;
  /** The manifest and all held ones below it, with their referrers. */
  below(node: Node): Promise<Digest[]>;

  // Blobs: bytes that are on disk, for whichever repository.

  /** What cannot be read counts as not known. */
  findBlob(digest: Digest): Promise<BlobRecord | undefined>;
  /** The same of many, in the order of the digests. */
  findBlobs(digests: readonly Digest[]): Promise<(BlobRecord | undefined)[]>;
  /** Rejects when it cannot be read. */
  hasBlob(digest: Digest): Promise<boolean>;
  /** The blob is on disk, and this repository is proven to hold it. Where and when it first came stays. */
  recordBlob(target: Target, digest: Digest, record: BlobRecord): Promise<void>;
  /** The blob is on disk, and nobody knows for which repository. The same stays. */
  adoptBlob(digest: Digest, record: BlobRecord): Promise<void>;
  /** More is known of the file of a recorded blob; of a forgotten one nothing is recorded. */
  updateBlob(digest: Digest, change: Partial<BlobRecord>): Promise<void>;
  /** The blob's file is missing or damaged. Links stay: the repository still has it. */
  forgetBlob(digest: Digest): Promise<void>;
  /** In byte order; those whose digest begins with the prefix. */
  listBlobs(prefix?: string): AsyncIterable<[Digest, BlobRecord]>;
  /** In byte order; those that are no held manifest, and that no held one lists. */
  unlistedBlobs(): AsyncIterable<[Digest, BlobRecord]>;

  // Links: which repository has which digest.

  findLink(target: Target, digest: Digest): Promise<Link | undefined>;
  /** Of these digests, those with a proven link to the repository. */
  provenOf(target: Target, digests: readonly Digest[]): Promise<Digest[]>;
  recordLink(target: Target, digest: Digest): Promise<void>;
  /** Repositories that the upstream served the digest from. */
  linked(digest: Digest): Promise<Target[]>;
  /**
   * Which upstream the digest came through: this one, `foreign` when it was only others, `unknown`
   * when no repository is linked to it and its record names none. Eviction takes the links, and
   * leaves the record while another upstream's manifest lists the digest.
   */
  originOf(digest: Digest, upstream: string): Promise<Origin>;
  /** Proven links to what no manifest of the repository lists. */
  unlistedLinks(): AsyncIterable<Node>;

  // Last pulls, and eviction by them.

  /** For a pull that happens now: a moment that is not before that of any recorded pull. */
  pullMoment(now: number): number;
  /** Of units that exist. An earlier time than the known one leaves it. */
  recordAccess(pulls: ReadonlyMap<string, PullTally>): Promise<void>;
  lastPull(unit: string): Promise<number | undefined>;
  /** How often clients have fetched a held manifest since it was stored, as far as that was counted. */
  countPulls(node: Node): Promise<number>;
  /** In the order of the units; 0 where none is known. */
  lastPulls(units: readonly string[]): Promise<number[]>;
  /** Whether a client has asked for a held manifest, or for a part of it, since it was stored. */
  wasPulled(node: Node): Promise<boolean>;
  /** A client asked for a blob of it. Nothing is recorded of a manifest that is not held. */
  recordUse(node: Node): Promise<void>;
  /** Whether a client has asked for a blob of a held manifest, and did not only look at it. */
  wasUsed(node: Node): Promise<boolean>;
  /** Units, the one that was not pulled for longest first. */
  oldest(): AsyncIterable<{ unit: string; time: number }>;
  /** What `evict` would remove. Each plan of one planner counts what those before it would remove. */
  planEvictions(): (unit: string, only?: Tag) => Promise<Evicted>;
  /** Removes the records of a unit, or `only` a tag of it. The files of its blobs are the caller's to remove, afterwards. */
  evict(unit: string, only?: Tag): Promise<Evicted>;

  // Pins.

  listPins(): Promise<Pin[]>;
  /** All of it, or nothing. A recorded pin takes the place of the one of the same origin and image. */
  changePins(change: PinChange): Promise<void>;

  /**
   * Tells of every repository whose manifests or whose tags' meanings have changed, evictions apart, with the
   * tags that meant another manifest before.
   */
  watch(told: (target: Target, moved: readonly MovedTag[]) => void): void;

  findFigure(name: Figure): Promise<number | undefined>;
  recordFigure(name: Figure, bytes: number): Promise<void>;
  /** Sets a little of the disk aside, with which images can be evicted when it is full. */
  keepReserve(): Promise<void>;
  close(): Promise<void>;
}

/**
 * What is to be known after a restart: the size of the `journal` when it was last written anew, and of the
 * largest content that a full store has `refused`, and when all was last `verified`.
 */
export type Figure = 'journal' | 'refused' | 'verified';

/**
 * What is evicted as one, as text: `upstream/repository digest` for a manifest of a repository, and
 * the digest alone for a blob that no manifest lists.
 */
export function unitOf(target: Target, digest: Digest): string {
  return itemKey(target, digest);
}

/** The manifest that a unit is; `undefined` for a blob that no manifest lists. */
export function nodeOf(unit: string): Node | undefined {
  const space = unit.lastIndexOf(' ');
  if (space === -1) return undefined;
  return { target: splitTarget(unit.slice(0, space)), digest: unit.slice(space + 1) as Digest };
}
