import type { BundleDraft } from '../../src/api/bundle-api.ts';

/**
 * What stands at the head of every part of a bundle, in a signed envelope. The content is one sequence:
 * `oci-layout`, `index.json`, the files, the blobs, each in the order of its list. Parts are cut out of
 * that sequence.
 */
export interface BundleManifest extends BundleDraft {
  readonly format: 1;
  /** Of `index.json`. */
  readonly index: { readonly digest: string; readonly size: number };
  /** Where each part but the first begins: the position of an entry in the content, and of a byte in it. */
  readonly cuts: readonly (readonly [entry: number, offset: number])[];
  /** One more part is there, from which a lost one can be made. */
  readonly hasParity: boolean;
}

/** The one form of a manifest: the same one has the same bytes. */
export declare function formatManifest(manifest: BundleManifest): Buffer;

/** Throws a `BundleError` with code `format` for all but what `formatManifest` makes. */
export declare function parseManifest(bytes: Uint8Array): BundleManifest;
