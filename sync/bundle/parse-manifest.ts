import type {
  BundledBlob,
  BundledFile,
  BundledImage,
  BundledRecipe,
} from '../../src/api/bundle-api.ts';
import { isDigest } from '../../src/oci/digest.ts';
import { isTag, isTargetName } from '../../src/oci/reference.ts';
import { isAdvice } from './advice.ts';
import { BundleError } from './bundle-error.ts';
import {
  compareImages,
  compareTexts,
  formatManifest,
  STORE_ID,
  type BundleManifest,
} from './bundle-manifest.ts';
import { countEntries, entryAt } from './content.ts';
import { MAX_SOURCES } from './recipe-finder.ts';
import { TEXTS } from './texts.ts';

/** What a manifest may have at most. */
export const MANIFEST_LIMITS = {
  bytes: 64 * 1024 * 1024,
  /** Of those that it carries, and of those that it needs. */
  blobs: 1_000_000,
  images: 1_000_000,
  recipes: 100_000,
  files: 10_000,
  /** Without the parity part. */
  parts: 10_000,
} as const;

/** With its folder it is within what a header of ustar has room for. */
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,89}$/;
const PRINTABLE = /^[\x21-\x7e]{1,512}$/;

/** Whether a file may have this name in a bundle. */
export function isBundledName(name: string): boolean {
  return FILE_NAME.test(name);
}

/**
 * Reads what `formatManifest` made, and nothing else. A manifest has at most 64 MiB, 1,000,000 blobs, as
 * many needs and images, 100,000 recipes, 10,000 files and 10,000 parts; lists are sorted and have nothing twice; sizes
 * are whole numbers from 0 on, and so is their sum; what it carries it does not need. Throws a
 * `BundleError` with code `format` that names the place.
 */
export function parseManifest(bytes: Uint8Array): BundleManifest {
  if (bytes.length > MANIFEST_LIMITS.bytes) throw refuse('bytes');
  const manifest = parseJson(bytes);
  checkHead(manifest);
  checkImages(manifest);
  checkLists(manifest);
  checkCuts(manifest);
  // Whatever else might stand in it, be written twice or in another way.
  if (!formatManifest(manifest).equals(bytes)) throw refuse('form');
  return manifest;
}

function parseJson(bytes: Uint8Array): BundleManifest {
  let manifest: unknown;
  try {
    manifest = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw refuse('JSON', error);
  }
  if (!isObject(manifest)) throw refuse('JSON');
  return manifest as unknown as BundleManifest;
}

function checkHead({ format, series, number, site, index, hasParity }: BundleManifest): void {
  if ((format as unknown) !== 1) {
    throw new BundleError('format', TEXTS.manifestVersion);
  }
  check(STORE_ID.test(asText(series)), 'series');
  check(Number.isSafeInteger(number) && number > 0, 'number');
  check(site === undefined || STORE_ID.test(asText(site)), 'site');
  check(isBlob(index) && index.digest.startsWith('sha256:'), 'index');
  check(typeof hasParity === 'boolean', 'hasParity');
}

function checkImages({ images, released }: BundleManifest): void {
  checkList<BundledImage>(images, {
    place: 'images',
    most: MANIFEST_LIMITS.images,
    isSound: ({ name, tag, digest, mediaType, size, subject, isSearched, advice }) =>
      isName(asText(name)) &&
      (tag === undefined || isTag(tag)) &&
      isBlob({ digest, size }) &&
      PRINTABLE.test(asText(mediaType)) &&
      (subject === undefined || isDigest(subject)) &&
      [undefined, true].includes(isSearched) &&
      isAdvice(advice),
    compare: compareImages,
  });
  checkList<string>(released, {
    place: 'released',
    most: MANIFEST_LIMITS.images,
    isSound: isTagged,
    compare: compareTexts,
  });
}

function checkLists({ files, blobs, needs, images, recipes }: BundleManifest): void {
  checkList<BundledFile>(files, {
    place: 'files',
    most: MANIFEST_LIMITS.files,
    isSound: (file) => isBundledName(asText(file.name)) && isBlob(file),
    compare: (a, b) => compareTexts(a.name, b.name),
  });
  const parts = {
    most: MANIFEST_LIMITS.blobs,
    isSound: isBlob,
    compare: (a: BundledBlob, b: BundledBlob): number => compareTexts(a.digest, b.digest),
  };
  checkList<BundledBlob>(blobs, { place: 'blobs', ...parts });
  checkList<BundledBlob>(needs, { place: 'needs', ...parts });
  const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
  for (const [position, { digest, size }] of needs.entries()) {
    check(!sizes.has(digest), `needs[${position}]`);
    sizes.set(digest, size);
  }
  for (const [position, { digest, size }] of images.entries()) {
    check(sizes.get(digest) === size, `images[${position}]`);
  }
  checkRecipes(recipes, { carried: blobs, needs });
}

/** A recipe makes what is neither carried nor held, of what is needed, and is smaller than that. */
function checkRecipes(
  recipes: readonly BundledRecipe[] | undefined,
  { carried, needs }: Record<'carried' | 'needs', readonly BundledBlob[]>,
): void {
  if (recipes === undefined) return;
  const held = new Set(needs.map(({ digest }) => digest));
  const there = new Set([...carried, ...needs].map(({ digest }) => digest));
  checkList<BundledRecipe>(recipes, {
    place: 'recipes',
    most: MANIFEST_LIMITS.recipes,
    isSound: (made) =>
      isBlob(made) &&
      !there.has(made.digest) &&
      isBlob(made.recipe) &&
      made.recipe.digest.startsWith('sha256:') &&
      made.recipe.size < made.size &&
      Array.isArray(made.sources) &&
      made.sources.length > 0 &&
      made.sources.length <= MAX_SOURCES &&
      made.sources.every((source) => held.has(source)),
    compare: (a, b) => compareTexts(a.digest, b.digest),
  });
  check(recipes.length > 0, 'recipes');
}

function checkCuts(manifest: BundleManifest): void {
  const { cuts, files, blobs, needs, index, recipes = [] } = manifest;
  const total = [index, ...files].reduce((sum, { size }) => sum + size, 0);
  const all = [...blobs, ...needs, ...recipes, ...recipes.map(({ recipe }) => recipe)];
  check(Number.isSafeInteger(all.reduce((sum, { size }) => sum + size, total)), 'sizes');
  const count = countEntries(manifest);
  checkList<readonly [number, number]>(cuts, {
    place: 'cuts',
    most: MANIFEST_LIMITS.parts - 1,
    isSound: (cut) => {
      const [entry, offset, ...more] = Array.isArray(cut) ? (cut as readonly unknown[]) : [];
      if (!isSize(entry) || !isSize(offset) || more.length > 0) return false;
      if (entry === 0 && offset === 0) return false;
      return entry < count && (offset === 0 || offset < entryAt(manifest, entry).size);
    },
    compare: ([entry, offset], [other, otherOffset]) => entry - other || offset - otherOffset,
  });
}

interface ListRules<Item> {
  readonly place: string;
  readonly most: number;
  readonly isSound: (item: Item) => boolean;
  readonly compare: (a: Item, b: Item) => number;
}

/** Sound items in ascending order, and so none twice. */
function checkList<Item>(
  list: readonly Item[],
  { place, most, isSound, compare }: ListRules<Item>,
): void {
  check(Array.isArray(list) && list.length <= most, place);
  let before: Item | undefined;
  for (const [position, item] of list.entries()) {
    const isRight =
      (isObject(item) || typeof item === 'string') &&
      isSound(item) &&
      (before === undefined || compare(before, item) < 0);
    check(isRight, `${place}[${position}]`);
    before = item;
  }
}

function isBlob(blob: BundledBlob): boolean {
  return isObject(blob) && isDigest(blob.digest) && isSize(blob.size);
}

/** `name:tag` */
function isTagged(text: string): boolean {
  const colon = asText(text).lastIndexOf(':');
  return colon > 0 && isName(text.slice(0, colon)) && isTag(text.slice(colon + 1));
}

/** Registry and repository, and nothing that a terminal would act on. */
function isName(text: string): boolean {
  return PRINTABLE.test(text) && isTargetName(text);
}

function isSize(size: unknown): size is number {
  return Number.isSafeInteger(size) && (size as number) >= 0;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function check(isRight: boolean, place: string): void {
  if (!isRight) throw refuse(place);
}

function refuse(place: string, cause?: unknown): BundleError {
  return new BundleError('format', TEXTS.manifestForm({ place }), { cause });
}
