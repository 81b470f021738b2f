import { digestOf, parseDigest, splitDigest, type Digest } from '../../src/oci/digest.ts';
import type { BundledBlob, BundledRecipe } from '../../src/api/bundle-api.ts';
import type { BundleManifest } from './bundle-manifest.ts';

/** One file of the layout that the parts of a bundle are cut from. */
export interface ContentEntry {
  /** `blobs/sha256/…`; `recipes/sha256/…` of what makes the blob of this digest. */
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

/** What the content is made of. */
export type Contents = Pick<BundleManifest, 'index' | 'files' | 'blobs' | 'recipes'>;

/** The parity part, from which a lost part can be made; other parts count from 1. */
export const PARITY_PART = 0;

/** The file `oci-layout`, by which tools know a layout. */
export const OCI_LAYOUT = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** Entries before the files and blobs. */
const LAYOUT_ENTRIES = 2;

export function countEntries({ files, blobs, recipes = [] }: Contents): number {
  return LAYOUT_ENTRIES + files.length + blobs.length + recipes.length;
}

/** The entry at a position of the content, which must be one. */
export function entryAt(contents: Contents, position: number): ContentEntry {
  const { index, files, blobs, recipes = [] } = contents;
  if (position === 0) {
    return { path: 'oci-layout', digest: digestOf(OCI_LAYOUT), size: OCI_LAYOUT.length };
  }
  if (position === 1) return entry('index.json', index);
  const file = files[position - LAYOUT_ENTRIES];
  if (file) return entry(`with/${file.name}`, file);
  const place = position - LAYOUT_ENTRIES - files.length;
  const blob = blobs[place];
  if (blob) return entry(`blobs/${pathOf(blob)}`, blob);
  const made = recipes[place - blobs.length];
  if (!made) throw new RangeError(`the content has no entry ${position}`);
  return recipeEntry(made);
}

/** A recipe in the content, and the blob that it makes. */
export interface RecipeEntry extends ContentEntry {
  readonly makes: Pick<ContentEntry, 'digest' | 'size'>;
  /** As the recipe counts them. */
  readonly sources: readonly Digest[];
}

export function recipesOf({ recipes = [] }: Pick<Contents, 'recipes'>): RecipeEntry[] {
  return recipes.map((made) => ({
    ...recipeEntry(made),
    makes: { digest: parseDigest(made.digest), size: made.size },
    sources: made.sources.map(parseDigest),
  }));
}

/** The content of a bundle in its order. */
export function* contentOf(contents: Contents): Generator<ContentEntry, void> {
  const count = countEntries(contents);
  for (let position = 0; position < count; position += 1) yield entryAt(contents, position);
}

/** Without the parity part. */
export function countParts({ cuts }: Pick<BundleManifest, 'cuts'>): number {
  return cuts.length + 1;
}

/** What a part carries, in the order of its tar; parts count from 1. */
export function* slicesOf(
  manifest: Contents & Pick<BundleManifest, 'cuts'>,
  part: number,
): Generator<Slice, void> {
  const [first, offset] = manifest.cuts[part - 2] ?? [0, 0];
  const [last, stop] = manifest.cuts[part - 1] ?? [countEntries(manifest), 0];
  for (let position = first; position < last; position += 1) {
    const of = entryAt(manifest, position);
    yield sliceOf(of, { entry: position, start: position === first ? offset : 0, end: of.size });
  }
  if (stop === 0) return;
  const start = last === first ? offset : 0;
  yield sliceOf(entryAt(manifest, last), { entry: last, start, end: stop });
}

function sliceOf(of: ContentEntry, place: Pick<Slice, 'entry' | 'start' | 'end'>): Slice {
  const isWhole = place.start === 0 && place.end === of.size;
  return { path: isWhole ? of.path : slicePath(place), ...place, of, isWhole };
}

export function slicePath({ entry, start }: Pick<Slice, 'entry' | 'start'>): string {
  return `slices/${entry}/${start}`;
}

function entry(path: string, { digest, size }: BundledBlob): ContentEntry {
  return { path, digest: parseDigest(digest), size };
}

function recipeEntry(made: BundledRecipe): ContentEntry {
  return entry(`recipes/${pathOf(made)}`, made.recipe);
}

function pathOf({ digest }: BundledBlob): string {
  const { algorithm, encoded } = splitDigest(parseDigest(digest));
  return `${algorithm}/${encoded}`;
}
