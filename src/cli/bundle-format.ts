import type { CountedImages } from '../../sync/bundle/counted-images.ts';
import type { BundleState } from '../api/bundle-api.ts';
import { count, formatLabelled, formatTable, roundSize, shortDigest } from './format.ts';
import { TEXTS } from './texts.ts';

/** How bundles stand whose parts were imported. */
export function describeImport(
  bundles: readonly BundleState[],
  columns: number | undefined,
): string {
  return bundles.map((bundle) => describeOne(bundle, columns)).join('');
}

function describeOne(
  { number, series, awaited, received, report }: BundleState,
  columns: number | undefined,
): string {
  const title = `bundle ${number} of series ${series}`;
  if (!report) {
    const all = awaited.length + received.length;
    const text = `${title}: ${received.length} of ${count(all, 'part')} here, awaited: ${describeParts(awaited)}`;
    return formatLabelled('', text, columns);
  }
  const { images, moved, blobs, bytes, released, refused, files, refusedFiles } = report;
  const came = `${count(images, 'image')}, ${count(blobs, 'blob')} of ${roundSize(bytes)} new`;
  const lines = [
    `${title} is in force: ${came}`,
    ...released.map((image) => `released ${image}`),
    ...refused.map((image) => TEXTS.importRefused(image)),
    ...files.map((path) => `brought ${path}`),
    ...refusedFiles.map((name) => `left out ${name}: its key may not bring files (bundles.trust)`),
  ];
  const rows = moved.map(({ image, digest, before }) => [
    image,
    shortDigest(digest),
    before === undefined ? 'new' : shortDigest(before),
  ]);
  const table =
    rows.length === 0 ? '' : formatTable([['TAG', 'MEANS', 'BEFORE'], ...rows], columns);
  return `${lines.map((line) => formatLabelled('', line, columns)).join('')}${table}`;
}

/** `2 images with 3 tags, 2 signatures or the like`. */
export function describeImages({ images, tags, attached }: CountedImages): string {
  const told = `${count(images, 'image')} with ${count(tags, 'tag')}`;
  return attached === 0 ? told : `${told}, ${count(attached, 'signature')} or the like`;
}

/** `1-3, 7`: as a person reads them out. */
export function describeParts(parts: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const part of parts) {
    const run = runs.at(-1);
    if (run && run[1] === part - 1) run[1] = part;
    else runs.push([part, part]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}
