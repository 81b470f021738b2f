import type { Digest } from '../../oci/digest.ts';
import { listOf, textOf } from './bounded-json.ts';
import { packageNameOf, parsePackageUrl } from './package-url.ts';

/** The image that is judged, by all names that a statement may call it by. */
export interface JudgedImage {
  /** With its upstream: `ghcr.io/org/app`. */
  readonly name: string;
  /** Its own, and that of the index that it was admitted with. */
  readonly digests: readonly Digest[];
}

export type VexStatus = 'not_affected' | 'affected' | 'fixed' | 'under_investigation';

/** That somebody says of one vulnerability in the image. */
export interface VexStatement {
  /** All that the vulnerability is called. */
  readonly ids: readonly string[];
  readonly status: VexStatus;
  /** Whether it says why, where it must: of what is not affected. */
  readonly isJustified: boolean;
  /** Of these packages alone; `undefined`: of the whole image. */
  readonly packages: readonly VexPackage[] | undefined;
  /** Milliseconds since 1970; `-Infinity` where it does not say when. */
  readonly at: number;
  /** Who says it or where, for people. */
  readonly from: string;
}

export interface VexPackage {
  readonly name: string;
  /** Of any version where it says none. */
  readonly version: string | undefined;
}

export type VexReading =
  | { readonly kind: 'statements'; readonly statements: readonly VexStatement[] }
  | { readonly kind: 'refused'; readonly code: 'malformed' | 'too-large'; readonly reason: string };

/** Of one document; each of its products and each of their packages is one. */
export const MAX_PARTS = 50_000;
export const MAX_ID = 256;
/** Of the names of one vulnerability. */
export const MAX_NAMES = 16;

/** Counts what is read of a document, so that it ends. */
export class PartsLeft {
  #left = MAX_PARTS;

  /** The list, or a {@link TooManyParts} when the document has had its share. */
  take(value: unknown): readonly unknown[] {
    const list = listOf(value);
    this.#left -= list.length;
    if (this.#left < 0) throw new TooManyParts();
    return list;
  }
}

export class TooManyParts extends Error {}

/** By which of its digests or names a statement calls something; each of them is a claim of its own. */
export interface VexProduct {
  readonly names: readonly string[];
  /** SHA-256 sums in hex, where the statement has any: then they alone count. */
  readonly sums: readonly string[];
}

/** Whether that is the image: by its digest, or by a package URL without a version that names its repository. */
export function isImage({ names, sums }: VexProduct, image: JudgedImage): boolean {
  if (sums.length > 0) {
    return sums.some((sum) =>
      image.digests.some((digest) => digest === `sha256:${sum.toLowerCase()}`),
    );
  }
  return names.some((name) => isNameOf(name, image));
}

function isNameOf(name: string, { name: own, digests }: JudgedImage): boolean {
  const url = parsePackageUrl(name);
  if (!url) return digests.some((digest) => name === digest || name === `${own}@${digest}`);
  if (url.type !== 'oci' && url.type !== 'docker') return false;
  // A digest is the same image wherever it was built for.
  if (url.version !== undefined) return digests.some((digest) => digest === url.version);
  return url.repository !== undefined && plainName(url.repository) === plainName(own);
}

/** Docker Hub has more than one name. */
function plainName(name: string): string {
  const plain = name
    .replace(/^[a-z]+:\/\//, '')
    .replace(/^(?:index|registry-1)\.docker\.io\//, 'docker.io/');
  return plain.toLowerCase();
}

/** The package that a package URL means; `undefined` for what is none. */
export function packageOf(name: string): VexPackage | undefined {
  const url = parsePackageUrl(name);
  return url && { name: packageNameOf(url), version: url.version };
}

/** A moment as documents write it; `-Infinity` for none. */
export function momentOf(...times: readonly unknown[]): number {
  for (const time of times) {
    const at = Date.parse(textOf(time, 64) ?? '');
    if (!Number.isNaN(at)) return at;
  }
  return -Infinity;
}
