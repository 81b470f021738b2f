/**
 * What the admin API needs of whoever takes in images that other tools wrote to files. Sizes are bytes;
 * images are written with their registry.
 */
export interface LayoutApi {
  /**
   * Takes in one image of an OCI layout or of a docker-archive, which comes as a tar, pins it by hand, and
   * gives it its tag. Throws `RegistryError` with what is wrong; nothing that a client could see was
   * written then, and the tar may have been read in part.
   */
  importLayout(tar: AsyncIterable<Uint8Array>, wish: LayoutWish): Promise<LayoutReport>;
}

export interface LayoutWish {
  /** `name:tag` or `name@digest`, what it is to be here; without either, `latest`. */
  readonly image: string;
  /** Which one is meant where there are several: its name there, or its digest. */
  readonly ref?: string;
}

export interface LayoutReport {
  /** With its registry and tag, or digest. */
  readonly image: string;
  readonly digest: string;
  readonly mediaType: string;
  /** A docker-archive has no manifest: the digest is one that no registry knows. */
  readonly form: 'oci-layout' | 'docker-archive';
  /** What the tag meant before. */
  readonly before?: string;
  /** Those that are held from now on; empty where the image is for none. */
  readonly platforms: readonly string[];
  /** What its index lists and did not come. */
  readonly leftOut: readonly { readonly digest: string; readonly platform?: string }[];
  /** Signatures and other manifests about it that came along. */
  readonly referrers: number;
  /** What was not held before. */
  readonly blobs: number;
  readonly bytes: number;
  /** Entries that belong to no layout and were passed over. */
  readonly skipped: number;
}
