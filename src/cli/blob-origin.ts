import { isDeepStrictEqual } from 'node:util';
import type { HeldBlob, ManifestReport } from '../api/store-api.ts';
import { formatAge, formatTable, roundSize, shortDigest } from './format.ts';
import { TEXTS } from './texts.ts';

/** What came with its manifest came within this time of it. */
const TOGETHER_MS = 3_600_000;

/**
 * Where bytes came from and when: `docker.io, 3 days ago`, `bundle 7 of 0f3a9c2e, 1 hour ago`. Where nobody
 * remembers, the time would be that of the file.
 */
export function formatOrigin(blob: HeldBlob, now: number): string {
  return isUnknown(blob)
    ? TEXTS.fromUnknown
    : `${sourceOf(blob)}, ${formatAge(blob.storedAt, now)}`;
}

/** The bundles that brought something of it, with their whole names: `7 of series 0f3a9c2e-…`. */
export function describeBundles(manifests: readonly ManifestReport[]): string[] {
  const bundles = manifests.flatMap(({ held }) => held.flatMap(({ bundle = [] }) => bundle));
  return [...new Set(bundles.map(TEXTS.ofSeries))];
}

/** A table of the blobs that came from elsewhere than their manifest, or not together with it; none: nothing. */
export function formatOthers(
  manifests: readonly ManifestReport[],
  { now, columns }: { readonly now: number; readonly columns: number | undefined },
): string[] {
  const others = new Map(manifests.flatMap(othersOf).map((blob) => [blob.digest, blob]));
  if (others.size === 0) return [];
  const rows = [...others.values()].map((blob) => [
    shortDigest(blob.digest),
    roundSize(blob.size),
    formatOrigin(blob, now),
  ]);
  return [formatTable([['BLOB', 'SIZE', 'FROM'], ...rows], columns)];
}

function othersOf({ digest, held }: ManifestReport): HeldBlob[] {
  const own = held.find((blob) => blob.digest === digest);
  return held.filter(
    (blob) =>
      !own ||
      !isDeepStrictEqual(from(blob), from(own)) ||
      (!isUnknown(blob) && Math.abs(blob.storedAt - own.storedAt) > TOGETHER_MS),
  );
}

function isUnknown({ upstream, bundle, layout }: HeldBlob): boolean {
  return (upstream ?? bundle ?? layout) === undefined;
}

function from({ upstream, bundle, layout }: HeldBlob) {
  return { upstream, bundle, layout };
}

function sourceOf({ upstream = '', bundle, layout }: HeldBlob): string {
  if (bundle) return TEXTS.fromBundle({ ...bundle, series: bundle.series.slice(0, 8) });
  return layout ? TEXTS.fromLayout : upstream;
}
