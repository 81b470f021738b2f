import type { Digest } from '../../src/oci/digest.ts';
import type { BundleManifest } from './bundle-manifest.ts';

/** One file of the layout that the parts of a bundle are cut from. */
export interface ContentEntry {
  /** `blobs/sha256/…` */
  readonly path: string;
  readonly digest: Digest;
  readonly size: number;
}

/** What one entry of a part's tar carries of the content. */
export interface Slice {
  /** In the tar: that of `of` where it is whole, else `slices/ENTRY/START`. */
  readonly path: string;
  /** Position in the content. */
  readonly entry: number;
  readonly of: ContentEntry;
  /** Of the entry. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly isWhole: boolean;
}

/** The parity part, from which a lost part can be made; other parts count from 1. */
export const PARITY_PART = 0;

/** The content of a bundle in its order. */
export declare function contentOf(
  manifest: Pick<BundleManifest, 'index' | 'files' | 'blobs'>,
): Iterable<ContentEntry>;

export declare function partsOf(manifest: Pick<BundleManifest, 'cuts'>): number;

/** What a part carries, in the order of its tar; parts count from 1. */
export declare function slicesOf(manifest: BundleManifest, part: number): Iterable<Slice>;
