import type { LayoutApi } from './layout-api.ts';
import type { SyncProgress } from './sync-api.ts';

/**
 * What the admin API needs of whoever makes bundles and takes them in. Times are milliseconds since
 * 1970, sizes bytes; images are written with their registry.
 */
export interface BundleApi {
  readonly inventory: InventoryApi;
  readonly drafts: DraftApi;
  readonly layouts: LayoutApi;
  readonly imports: IntakeApi;
}

/** What this site holds. */
export interface InventoryApi {
  /** As a signed file. Rejects with a `RegistryError` with status 503 where none can be made. */
  make(): Promise<Uint8Array>;
}

/** What bundles are made of. */
export interface DraftApi {
  /**
   * Begins to fetch what a bundle is to have and the mirror lacks; what it has is not evicted until
   * `end`, or until nobody has asked for it for ten minutes. Throws `RegistryError` with status 400
   * for what cannot be read, with 409 while as many drafts as may be are open.
   */
  draft(wish: BundleWish): Promise<DraftState>;
  /** `undefined` for what never was, or has ended. */
  draftState(id: string): DraftState | undefined;
  /** The bytes of a blob of a draft; `undefined` for what is none of its blobs, or held no more. */
  openBlob(
    id: string,
    digest: string,
    range: BlobRange,
  ): Promise<AsyncIterable<Uint8Array> | undefined>;
  end(id: string): void;
}

/** Bundles that come in. */
export interface IntakeApi {
  /**
   * Takes in one part of a bundle, and all of the bundle once its last part is here. Throws
   * `RegistryError` with what is wrong; nothing that a client could see was written then.
   */
  receive(part: AsyncIterable<Uint8Array>, options: ReceiveOptions): Promise<BundleState>;
  /** Bundles of which parts are awaited, and the last one of each series. */
  readonly report: BundlesReport;
  /**
   * What bundles brought and admission refused, the 1,000 that came last, the last one first: each until a bundle
   * brings its name and it is taken, or its series releases it.
   */
  readonly untaken: readonly UntakenImage[];
}

export interface BlobRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

export interface BundleWish {
  /** `name:tag` or `name@digest`; without images and lock, what the rules of sync select. */
  readonly images?: readonly string[];
  readonly lock?: unknown;
  /** The inventory of the site that it is for, base64; without one it carries everything. */
  readonly inventory?: string;
  /** What is added beside images; the caller has the bytes. */
  readonly files: readonly BundledFile[];
  /** Of named images these alone; without them, as rules want them, else all. */
  readonly platforms?: readonly string[];
  /** No bundle is made of it: it takes no number, and has nothing that is attached to its images. */
  readonly isPlain?: boolean;
}

export interface DraftState {
  readonly id: string;
  readonly running?: Omit<SyncProgress, 'only'>;
  readonly last?: DraftReport;
}

export interface DraftReport {
  readonly startedAt: number;
  readonly endedAt: number;
  /** Absent where something could not be fetched. */
  readonly draft?: BundleDraft;
  /** What was selected and the site has already. */
  readonly there?: {
    readonly images: number;
    readonly blobs: number;
    readonly bytes: number;
  };
  readonly problems: readonly { readonly image: string; readonly reason: string }[];
  /** Tags that are as their upstream last said, which gave no answer now: `name:tag`. */
  readonly unasked: readonly string[];
  /** What rules of sync or a lock select and no bundle carries, since admission refuses it. */
  readonly refused: readonly WithheldImage[];
}

/** An image that may not be pulled. */
export interface WithheldImage {
  /** `name:tag` or `name@digest`. */
  readonly image: string;
  readonly reason: string;
}

/** All that a bundle says of itself but how it is cut into parts. */
export interface BundleDraft {
  /** Whose numbers count up: the id of the store that made it. */
  readonly series: string;
  /** Higher with each bundle of the series that differs from the one before. */
  readonly number: number;
  /** The site that it is for; absent where it carries everything. */
  readonly site?: string;
  /** Sorted by name, tag and digest. */
  readonly images: readonly BundledImage[];
  /** Images of the site that the series brought and that are not selected any more: `name:tag`. */
  readonly released: readonly string[];
  /** What it carries, in this order. */
  readonly blobs: readonly BundledBlob[];
  /** What its images need and the site holds, sorted. */
  readonly needs: readonly BundledBlob[];
  /** What is made at the site of what it needs and of new bytes, sorted; absent where nothing is. */
  readonly recipes?: readonly BundledRecipe[];
  /** What it carries beside images. */
  readonly files: readonly BundledFile[];
}

export interface BundledImage {
  /** Registry and repository. */
  readonly name: string;
  readonly tag?: string;
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes of the manifest. */
  readonly size: number;
  /** The image that it is attached to: it is a signature, an attestation or another referrer of it. */
  readonly subject?: string;
  /**
   * All that could be attached to it and to its platforms was looked for, and is in the bundle or at the
   * site: there is nothing else.
   */
  readonly isSearched?: true;
  /** What rules of the mirror that made it found, for people; the site judges by its own. */
  readonly advice?: readonly string[];
}

export interface BundledBlob {
  readonly digest: string;
  readonly size: number;
}

/** A layer that the site makes of others: that takes less than to carry it. */
export interface BundledRecipe extends BundledBlob {
  /** How it is made, and the new bytes. */
  readonly recipe: BundledBlob;
  /** Digests of the layers that it is made of, as the recipe counts them. */
  readonly sources: readonly string[];
}

export interface BundledFile {
  /** Without a folder. */
  readonly name: string;
  readonly digest: string;
  readonly size: number;
}

export interface ReceiveOptions {
  /** Takes a bundle whose number is not above the last one of its series. */
  readonly allowOlder: boolean;
}

/** How far a bundle is that this site takes in. */
export interface BundleState {
  /** The digest of its signed manifest. */
  readonly id: string;
  readonly series: string;
  readonly number: number;
  /** Of `parts`, those that are here; parts count from 1. */
  readonly received: readonly number[];
  readonly awaited: readonly number[];
  readonly images: number;
  /** Absent until all of it is here and in force. */
  readonly report?: ImportReport;
}

export interface ImportReport {
  readonly appliedAt: number;
  readonly images: number;
  /** Tags that mean another digest than before, with new ones. */
  readonly moved: readonly {
    readonly image: string;
    readonly digest: string;
    readonly before?: string;
  }[];
  /** What was not held before. */
  readonly blobs: number;
  readonly bytes: number;
  readonly released: readonly string[];
  /** Images that admission refuses here: their tags mean what they meant, and nothing of them is kept. */
  readonly refused: readonly WithheldImage[];
  /** Files that are in place, and those that its key may not bring. */
  readonly files: readonly string[];
  readonly refusedFiles: readonly string[];
}

/** An image that a bundle brought and that was refused then. */
export interface UntakenImage {
  /** `name:tag`, or `name@digest` without a tag. */
  readonly image: string;
  readonly digest: string;
  readonly series: string;
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly broughtAt: number;
}

export interface BundlesReport {
  readonly awaited: readonly BundleState[];
  readonly applied: readonly {
    readonly series: string;
    readonly number: number;
    readonly id: string;
    readonly key: string;
    readonly appliedAt: number;
  }[];
}
