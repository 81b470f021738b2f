/**
 * What the admin API needs of the store. Times are milliseconds since 1970, sizes bytes; images are
 * written as clients write them, with their registry: `docker.io/library/nginx`.
 */
export interface StoreApi {
  summary(): Promise<StoreSummary>;
  /** Held images; `match` is a glob over the name, or over `name:tag` where it has a colon. */
  images(query: ImageQuery): Promise<ImageSummary[]>;
  /** `undefined` when nothing of it is held. Throws `RegistryError` for what names no image. */
  explain(image: string): Promise<ImageReport | undefined>;
  /** What `explain` looked for and did not find. Throws as it does. */
  absence(image: string): Promise<AbsentImage>;
  /**
   * What the upstream says now that a tag means, whatever is held; `latest` where none is written. The
   * manifest of a held tag that moved is held from then on. Throws `RegistryError` for what names no tag,
   * and where the upstream cannot be asked: then what is held stays as it is.
   */
  refresh(image: string): Promise<RefreshReport>;
  /** What would go to bring the store down by this many bytes; without it, to its low watermark. */
  planCollection(bytes?: number): Promise<CollectionReport>;
  collect(bytes?: number): Promise<CollectionReport>;
  /**
   * Takes one image out, named by tag or digest; with `isPlan` it only says what would go. `undefined`
   * when it is not held. Throws a `RegistryError` with status 400 for what names no single image, and
   * with 409, which says by whom and what to do, when it is kept.
   */
  remove(image: string, options: { isPlan: boolean }): Promise<RemovalReport | undefined>;
  /** Begins unless it runs already. */
  startVerify(): VerifyState;
  readonly verifyState: VerifyState;
  pins(): readonly Pin[];
  /** Throws `RegistryError` for what names no image and is no pattern. */
  pin(image: string, reason?: string): Promise<Pin>;
  /** False when there was no such pin by hand. */
  unpin(image: string): Promise<boolean>;
  /** All that keep an image, by whomever and under whatever name. */
  pinsOf(image: string): Promise<readonly Pin[]>;
  /** Held images that a pin keeps, behind this one, in an order that stays. */
  kept(after?: string): AsyncIterable<KeptImage>;
  /** Those of the images, written as in a pin, of which something is held. */
  findHeld(images: readonly string[]): Promise<ReadonlySet<string>>;
  /**
   * What this source has in use, each entry as tools write it. A whole list takes the place of the
   * one before, and one without entries ends it; one that is not whole only adds. Throws a
   * `RegistryError` when a whole list has entries, and none that names an image.
   */
  setInUse(source: string, list: InUseList): Promise<InUse>;
}

/** What a tag means at the upstream, beside what it meant here. */
export interface RefreshReport {
  /** With its registry and tag. */
  readonly image: string;
  /**
   * `unheld`: the upstream has it and nothing of it is held; `gone`: the upstream has it no more; `absent`:
   * it is neither there nor held.
   */
  readonly state: 'unchanged' | 'moved' | 'unheld' | 'gone' | 'absent';
  /** At the upstream, now. */
  readonly digest?: string;
  /** Here, before. */
  readonly before?: string;
  /** The upstream has it no more, and a pin keeps it: it is served all the same. */
  readonly isKept?: true;
}

export interface InUseList {
  readonly entries: readonly string[];
  readonly isWhole: boolean;
}

/** What a list of images in use came to. */
export interface InUse<OnePin extends Pin = Pin> {
  /** Of this source, also those that an earlier list told where this one only adds. */
  readonly pins: readonly OnePin[];
  readonly passedOver: readonly PassedOver[];
}

/** An image of a list that is not pinned. */
export interface PassedOver {
  /** Of the list, from 1. */
  readonly line: number;
  readonly text: string;
  /** `unnamed`: as `<none>:<none>`, or an id. `elsewhere`: not mirrored here. `invalid`: no image. */
  readonly kind: 'unnamed' | 'elsewhere' | 'invalid';
  readonly reason: string;
}

/** An image that a pin keeps: by hand, by the configuration, because it is in use, or by sync. */
export interface KeptImage {
  /** With its registry and digest. */
  readonly image: string;
  readonly tags: readonly string[];
  readonly pins: readonly Pin[];
}

export interface AbsentImage {
  /** With its registry, and with the tag that it means when it names none. */
  readonly image: string;
  readonly repository: string;
  /** Those of the repository that are held. */
  readonly tags: readonly string[];
}

export interface StoreSummary {
  readonly path: string;
  readonly bytes: number;
  readonly blobs: number;
  readonly images: number;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
  /** Of the disk; absent when it does not say. */
  readonly freeBytes?: number;
  /** Promised to running downloads. */
  readonly reservedBytes: number;
  readonly quarantined: Amount;
  readonly partials: Amount;
  /** Of catalog, journal and whatever else lies below the path. */
  readonly otherBytes: number;
  /** `full`: some content was passed through without being kept. `failing`: the disk refuses. */
  readonly state: 'ok' | 'full' | 'failing';
  readonly reason?: string;
  readonly since?: number;
  readonly lastCollection?: { readonly at: number } & Released;
  readonly verify: VerifyState;
}

export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface Released {
  readonly images: number;
  readonly blobs: number;
  readonly bytes: number;
}

export interface ImageQuery {
  readonly match?: string;
  readonly sort: 'name' | 'size' | 'oldest' | 'pulls';
  readonly limit: number;
}

export interface ImageSummary {
  readonly image: string;
  readonly tags: readonly string[];
  readonly digest: string;
  readonly mediaType: string;
  /** Held bytes of all its members. */
  readonly bytes: number;
  /** What evicting it alone would free. */
  readonly ownBytes: number;
  readonly lastPulledAt: number;
  /** How often clients fetched its manifest while it was held; a catalog made anew counts from zero. */
  readonly pulls: number;
  /** Of the image itself: it is whole without what is attached to it. */
  readonly state: 'complete' | 'partial';
  readonly missingBytes: number;
  /** How many of them are here, in parts of blobs, and not verified; left out where none. */
  readonly arrivedBytes?: number;
  /** What its referrers lack, as signatures; left out where nothing. */
  readonly attachedMissingBytes?: number;
  readonly pins: readonly Pin[];
}

export interface ImageReport extends ImageSummary {
  readonly storedAt: number;
  readonly tagsCheckedAt: Readonly<Record<string, number>>;
  /** Every manifest of it, the root first, and those of its referrers. */
  readonly manifests: readonly ManifestReport[];
  /** Digests of the images that this one is part of; empty for a root. */
  readonly partOf: readonly string[];
}

export interface ManifestReport {
  readonly digest: string;
  readonly mediaType: string;
  readonly role: 'root' | 'platform' | 'attestation' | 'referrer';
  /** `linux/arm64/v8` */
  readonly platform?: string;
  readonly isHeld: boolean;
  /** False for a platform that nobody asked for. */
  readonly isWanted: boolean;
  readonly bytes: number;
  /** What is held of it: the manifest itself, and what it lists that is no manifest. */
  readonly held: readonly HeldBlob[];
  readonly missing: readonly MissingBlob[];
}

/** A blob that is not held, also where a part of it is. */
export interface MissingBlob {
  readonly digest: string;
  readonly size: number;
  /** How many of its bytes are here, and not verified; left out where none. */
  readonly arrivedBytes?: number;
}

/**
 * Bytes that are held, and where they first came from: an upstream, a bundle or a layout; without any of
 * them nobody remembers.
 */
export interface HeldBlob {
  readonly digest: string;
  readonly size: number;
  readonly storedAt: number;
  readonly upstream?: string;
  readonly bundle?: { readonly series: string; readonly number: number };
  /** An OCI layout or a docker-archive. */
  readonly layout?: true;
}

export interface CollectionReport {
  /** Asked for, and what it comes to. */
  readonly wantedBytes: number;
  readonly released: Released;
  readonly images: readonly CollectedImage[];
  /** Older images that stay, and why. */
  readonly kept: readonly {
    readonly image: string;
    readonly tags: readonly string[];
    readonly digest: string;
    readonly why: string;
  }[];
}

export interface CollectedImage {
  readonly image: string;
  readonly tags: readonly string[];
  readonly digest: string;
  readonly lastPulledAt: number;
  readonly bytes: number;
  readonly why: string;
}

/** What went, or would go, with an image that was removed by its name. */
export interface RemovalReport {
  /** As it was named, with its registry. */
  readonly image: string;
  readonly digest: string;
  /** Those that went. */
  readonly tags: readonly string[];
  /**
   * Only the tag went: what else holds the image, its other tags, or digests of images that it is
   * part of.
   */
  readonly stays?: { readonly tags: readonly string[]; readonly partOf: readonly string[] };
  /** Blobs that other images have too are not among it. */
  readonly released: Released;
}

export interface VerifyState {
  readonly running?: VerifyProgress;
  readonly last?: VerifyReport;
}

export interface VerifyProgress {
  readonly startedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly totalBlobs: number;
  readonly totalBytes: number;
  readonly damaged: number;
}

export interface VerifyReport {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damage[];
}

export interface Damage {
  readonly digest: string;
  readonly fault: 'damaged' | 'truncated' | 'missing' | 'unreadable';
  readonly images: readonly string[];
  readonly healed: boolean;
  /** Why it could not be fetched again. */
  readonly reason?: string;
}

export interface Pin {
  /** `hand`, `config`, `use:<source>` or `sync`. */
  readonly origin: string;
  /** A name, `name:tag`, `name@digest`, or a glob of one of these. */
  readonly image: string;
  /** Of a digest: the tags that it keeps beside it when the upstream removes them. Left out: all. */
  readonly tags?: readonly string[];
  readonly reason?: string;
  readonly since: number;
}

/** What a catalog made anew from the files holds. */
export interface RebuildReport {
  readonly manifests: number;
  readonly tags: number;
  readonly blobs: number;
  /** Manifests that nothing holds. */
  readonly images: number;
}

/** A pin as it was just made. */
export interface NewPin extends Pin {
  /** False when nothing of it is held yet. */
  readonly isHeld: boolean;
}
