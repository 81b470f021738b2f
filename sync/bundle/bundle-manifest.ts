import type { BundleDraft, BundledImage } from '../../src/api/bundle-api.ts';

/**
 * What stands at the head of every part of a bundle, in a signed envelope. The content is one sequence:
 * `oci-layout`, `index.json`, the files, the blobs, the recipes, each in the order of its list. Parts are cut out of
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

type Named = Pick<BundledImage, 'name' | 'tag' | 'digest'>;

/** The id of a store, which names a series and a site: a UUID in lower case. */
export const STORE_ID = /^[0-9a-f-]{36}$/;

/** The one form of a manifest: the same one has the same bytes, whatever the order of its keys is. */
export function formatManifest(manifest: BundleManifest): Buffer {
  const { format, series, number, site, index, cuts, hasParity } = manifest;
  const document = {
    format,
    series,
    number,
    site,
    index: { digest: index.digest, size: index.size },
    hasParity,
    cuts,
    images: manifest.images.map(
      ({ name, tag, digest, mediaType, size, subject, isSearched, advice }) => ({
        name,
        tag,
        digest,
        mediaType,
        size,
        subject,
        isSearched,
        advice,
      }),
    ),
    released: manifest.released,
    files: manifest.files.map(({ name, digest, size }) => ({ name, digest, size })),
    blobs: manifest.blobs.map(({ digest, size }) => ({ digest, size })),
    needs: manifest.needs.map(({ digest, size }) => ({ digest, size })),
    recipes: manifest.recipes?.map(({ digest, size, recipe, sources }) => ({
      digest,
      size,
      recipe: { digest: recipe.digest, size: recipe.size },
      sources,
    })),
  };
  return Buffer.from(`${JSON.stringify(document)}\n`);
}

/** The order of images in manifests and inventories: by name, tag (none comes first) and digest. */
export function compareImages(a: Named, b: Named): number {
  return (
    compareTexts(a.name, b.name) ||
    compareTexts(a.tag ?? '', b.tag ?? '') ||
    compareTexts(a.digest, b.digest)
  );
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
