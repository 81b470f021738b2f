import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import type { Reference, Repository, Tag } from '../oci/reference.ts';
import type { UpstreamStatus } from '../api/status-api.ts';
import type { Demand } from './demand.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { TEXTS } from './texts.ts';

/**
 * A registry that content comes from. Absence is `undefined` and means that the registry itself
 * said so; every other fault is an `UpstreamError`. Without a demand it is a client that asks.
 */
export interface Upstream {
  readonly name: string;
  readonly status: Omit<UpstreamStatus, 'name'>;
  /**
   * Whether the registry gives no sign of life to a question of our own, which no client chose: it is
   * asked now unless it just was. What silence grants, a failed answer alone does not.
   */
  isSilent(): Promise<boolean>;
  /**
   * To be called before a client begins to wait. What it returns is called when the client has waited
   * in vain, and makes the upstream a suspect unless it has answered anything meanwhile.
   */
  watch(): (reason: string) => void;
  headManifest(
    repository: Repository,
    reference: Reference,
    demand?: Demand,
  ): Promise<ManifestHead | undefined>;
  getManifest(
    repository: Repository,
    reference: Reference,
    demand?: Demand,
  ): Promise<ManifestBody | undefined>;
  /** Call it when HEAD and GET of a tag differ: HEAD named another manifest, or one that is not there. */
  misledByHead(): void;
  headBlob(
    repository: Repository,
    digest: Digest,
    options?: BlobHeadOptions,
  ): Promise<BlobHead | undefined>;
  getBlob(
    repository: Repository,
    digest: Digest,
    options?: BlobOptions,
  ): Promise<BlobBody | undefined>;
  /** `most`: pages that are read, where a list that is longer is not worth it. */
  listTags(repository: Repository, demand?: Demand, most?: number): Promise<TagList | undefined>;
  /** `isUntagged`: it is known that there is no fallback tag. */
  listReferrers(
    repository: Repository,
    subject: Digest,
    demand?: Demand,
    how?: { readonly isUntagged: boolean },
  ): Promise<ReferrerList>;
  /** `undefined` when the registry does not list its repositories, as most public ones. */
  listRepositories(demand?: Demand): Promise<Repository[] | undefined>;
  /** Sets its gauges. */
  show(): void;
  /**
   * Another one takes its place: what runs goes on, and no connection is kept beyond its request. When
   * the mirror is offline now, none is opened any more: what would need one fails.
   */
  leave(options: { readonly isOffline: boolean }): void;
  close(): Promise<void>;
}

export interface BlobHeadOptions {
  readonly demand?: Demand;
  /** What a manifest of the repository says: it stands in for a missing length, and doubts a 404. */
  readonly size?: number | undefined;
  /** A client wants the bytes: only a GET may say that there are none. */
  readonly isWanted?: boolean;
}

export interface BlobOptions {
  readonly demand?: Demand;
  /** First byte wanted; 0 sends no `Range` unless there is an end. */
  readonly start?: number;
  /** Exclusive. */
  readonly end?: number;
  /** How long its headers may take, redirects and all; the time of any exchange unless given. */
  readonly withinMs?: number;
  /** The size of the whole blob by its descriptor; asked where the answer does not tell it. */
  readonly size?: () => Promise<number | undefined>;
}

/** How the bytes of an answer were read that says that they are compressed. */
export interface Reading {
  readonly isDecoded: boolean;
  /** Nothing tells whether that is so: until the digest does, the other way is as likely. */
  readonly isGuess: boolean;
  /** Tells whether the digest was right: the next answer of the host is read accordingly. */
  settle(isRight: boolean): void;
}

/** The tags of a repository. */
export interface TagList {
  /** In byte order. */
  readonly names: readonly Tag[];
  /** As far as the answers tell the registry has no other one. */
  readonly isWhole: boolean;
}

export interface ReferrerList {
  /** In the order of their digests. */
  readonly referrers: readonly Descriptor[];
  /** False of a registry without the API: it tells of those alone whose clients wrote a tag for them. */
  readonly isComplete: boolean;
}

/** A mirror's answer from a copy that its own upstream did not confirm. */
export interface ParentCopy {
  /** Since it was last confirmed. */
  readonly ageMs: number;
  /** In the mirror's own words. */
  readonly warning: string;
}

/** Registries leave out type or size; what is missing takes a GET to learn. */
export interface ManifestHead {
  readonly digest: Digest;
  readonly mediaType?: string;
  readonly size?: number;
  /** The upstream is a mirror that could not ask itself. */
  readonly copy?: ParentCopy;
  /** It took a GET to learn, which brought this. */
  readonly body?: ManifestBody;
}

/** Verified: the bytes are the digest's, and parse as the manifest. */
export interface ManifestBody {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly manifest: Manifest;
  /** Call it when the bytes are kept or needed no more: until then a large document has a place in memory. */
  readonly release?: () => void;
}

export interface BlobHead {
  readonly size?: number;
}

/** Not verified: the bytes are what the registry sent. */
export interface BlobBody {
  /** Where the body starts in the blob; 0 although more was asked when a registry ignores `Range`. */
  readonly start: number;
  /** Bytes of the whole blob. */
  readonly size?: number;
  /** It is the range that was asked for, and no more. */
  readonly isRange?: boolean;
  /** Where the answer says that it is compressed. */
  readonly reading?: Reading;
  /**
   * Throws `UpstreamError` when the transfer breaks or stalls, `IntegrityError` for what cannot be
   * decoded; leaving the loop early closes it.
   */
  readonly chunks: AsyncIterable<Buffer>;
  /** Closes the transfer when nobody will read the chunks. */
  discard(): void;
}

/** The upstream of a mirror that is set offline. It has no code that could open a connection. */
export function createOfflineUpstream(name: string): Upstream {
  const refuse = async (): Promise<never> => {
    throw new UpstreamError(name, 'offline', TEXTS.offline);
  };
  return {
    name,
    status: { state: 'offline', accounts: [] },
    isSilent: async () => true,
    watch: () => () => {},
    headManifest: refuse,
    getManifest: refuse,
    misledByHead: () => {},
    headBlob: refuse,
    getBlob: refuse,
    listTags: refuse,
    listReferrers: refuse,
    listRepositories: refuse,
    show: () => {},
    leave: () => {},
    close: async () => {},
  };
}
