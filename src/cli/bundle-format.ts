import type { BundleState } from '../api/bundle-api.ts';
import { count, formatLabelled, formatTable, roundSize, shortDigest } from './format.ts';

/** How bundles stand whose parts were imported. */
export function describeImport(
  bundles: readonly BundleState[],
  columns: number | undefined,
): string {
  return bundles.map((bundle) => describeOne(bundle, columns)).join('\n');
}

function describeOne(
  { number, series, awaited, received, report }: BundleState,
  columns: number | undefined,
): string {
  const title = `bundle ${number} of series ${series}`;
  if (!report) {
    const all = awaited.length + received.length;
    const text = `${title}: ${received.length} of ${count(all, 'part')} here, awaited: ${awaited.join(', ')}`;
    return `${formatLabelled('', text, columns)}\n`;
  }
  const { images, moved, blobs, bytes, released, files, refusedFiles } = report;
  const came = `${count(images, 'image')}, ${count(blobs, 'blob')} of ${roundSize(bytes)} new`;
  const lines = [
    `${title} is in force: ${came}`,
    ...released.map((image) => `released ${image}`),
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
  return `${lines.map((line) => formatLabelled('', line, columns)).join('\n')}\n${table}`;
}
