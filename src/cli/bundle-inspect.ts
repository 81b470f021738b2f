import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { countParts, PARITY_PART } from '../../sync/bundle/content.ts';
import { countImages } from '../../sync/bundle/counted-images.ts';
import {
  expectedSizes,
  inspectParts,
  type InspectedBundle,
  type Inspection,
} from '../../sync/bundle/inspection.ts';
import type { BundledBlob } from '../api/bundle-api.ts';
import { formatImageName, type Tag } from '../oci/reference.ts';
import { filesAt } from './bundle-sources.ts';
import {
  AdminError,
  EXIT_CODE,
  print,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { describeImages } from './bundle-format.ts';
import { count, formatLabelled, formatTable, roundSize, shortDigest } from './format.ts';
import { readTrustedKey } from './key-files.ts';
import { ProgressLine } from './progress-line.ts';
import { countRebuilt, formatRebuilt } from './rebuilt-layers.ts';
import { formatRows } from './sync-format.ts';
import { TEXTS } from './texts.ts';

interface InspectOptions extends CommandOptions {
  readonly key?: string;
  readonly all?: boolean;
}

interface Layout {
  readonly columns: number | undefined;
  readonly isAll: boolean | undefined;
}

/** Says what is in bundles, and verifies each part; 0 when all are whole and right, else 1. */
export async function inspectBundle(
  paths: readonly string[],
  options: InspectOptions,
  context: StoreContext,
): Promise<number> {
  const { key: file } = options;
  const key = file === undefined ? undefined : readTrustedKey(file, context.cwd);
  const files = await findFiles(paths, context.cwd);
  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size));
  const total = sum(sizes);
  const line = ProgressLine.of(options, context);
  let done = 0;
  const onRead = (bytes: number): void => {
    done += bytes;
    line.show(`${roundSize(done)} of ${roundSize(total)}`, done / total);
  };
  const inspection = await inspectParts(files, { key, onRead }).finally(() => line.end());
  const { all: isAll } = options;
  print(options, context, describe(inspection), (columns) =>
    formatInspection(inspection, { columns, isAll }),
  );
  return inspection.isOk ? EXIT_CODE.ok : EXIT_CODE.failed;
}

async function findFiles(paths: readonly string[], cwd: string): Promise<string[]> {
  const found = await Promise.all(
    paths.map(async (each) => {
      const path = resolve(cwd, each);
      const files = await filesAt(path);
      if (files.length === 0) throw new AdminError(TEXTS.noBundleIn({ path }));
      return files;
    }),
  );
  return [...new Set(found.flat())];
}

/** For programs: the manifest of each bundle, and how its parts are. */
function describe({ isOk, bundles, problems }: Inspection): object {
  return {
    isOk,
    bundles: bundles.map(({ id, manifest: { cuts, ...manifest }, ...rest }) => ({
      id,
      ...manifest,
      rebuilt: countRebuilt(manifest.recipes),
      ...rest,
      partCount: countParts({ cuts }),
    })),
    problems,
  };
}

function formatInspection({ bundles, problems }: Inspection, layout: Layout): string {
  const rows = problems.map(({ path, reason }) => [path, reason]);
  const table =
    rows.length === 0
      ? ''
      : formatLabelled('', TEXTS.inspectProblems, layout.columns) +
        formatTable([['FILE', 'WHY'], ...rows], layout.columns);
  return [...bundles.map((bundle) => formatBundle(bundle, layout)), table]
    .filter((text) => text !== '')
    .join('\n');
}

function formatBundle(bundle: InspectedBundle, layout: Layout): string {
  const { id, manifest } = bundle;
  const { number, series, site, images, blobs, files, released } = manifest;
  const rebuilt = countRebuilt(manifest.recipes);
  const carried = [
    describeImages(countImages(images)),
    `${count(blobs.length, 'blob')} of ${roundSize(sizeOf(blobs))}`,
    ...(files.length > 0 ? [`${count(files.length, 'file')} of ${roundSize(sizeOf(files))}`] : []),
  ];
  const lines: readonly (readonly [string, string])[] = [
    ['bundle', `${number} of the series ${series}`],
    ['id', id],
    ['signed', tellKey(bundle)],
    ['for', site === undefined ? TEXTS.inspectForAll : TEXTS.inspectFor({ site })],
    ['carries', carried.join(', ')],
    ...(rebuilt ? [['rebuilds', formatRebuilt(rebuilt)] as const] : []),
    ['needs', tellNeeds(manifest.needs)],
    ...(released.length > 0 ? [['releases', count(released.length, 'image')] as const] : []),
    ['parts', tellParts(bundle)],
  ];
  return [
    lines.map(([label, text]) => formatLabelled(label.padEnd(10), text, layout.columns)).join(''),
    formatImages(bundle, layout),
    formatReleased(bundle, layout),
    formatFiles(bundle, layout),
    formatParts(bundle, layout),
  ]
    .filter((text) => text !== '')
    .join('\n');
}

function tellKey({ key: { id, isVerified } }: InspectedBundle): string {
  if (isVerified === undefined) return TEXTS.inspectUnverified({ id });
  return isVerified ? TEXTS.inspectSigned({ id }) : TEXTS.inspectForeign({ id });
}

function tellNeeds(needs: readonly BundledBlob[]): string {
  if (needs.length === 0) return TEXTS.inspectNeedsNone;
  const bytes = roundSize(sizeOf(needs));
  return TEXTS.inspectNeeds({ blobs: count(needs.length, 'blob'), bytes });
}

function tellParts({ manifest, parts, missing }: InspectedBundle): string {
  const all = countParts(manifest);
  if (missing.length === 0) return TEXTS.inspectWhole({ parts: count(all, 'part') });
  const text = TEXTS.inspectMissing({
    here: String(all - missing.length),
    parts: count(all, 'part'),
    missing: formatRanges(missing),
  });
  const isMended =
    missing.length === 1 && parts.some(({ part, problem }) => part === PARITY_PART && !problem);
  return isMended ? `${text}; ${TEXTS.inspectRebuild}` : text;
}

/** `1, 3-5` */
function formatRanges(numbers: readonly number[]): string {
  const all = new Set(numbers);
  const starts = numbers.filter((number) => !all.has(number - 1));
  const ends = numbers.filter((number) => !all.has(number + 1));
  return starts
    .map((start, at) => (start === ends[at] ? String(start) : `${start}-${ends[at]}`))
    .join(', ');
}

function formatImages({ manifest: { images } }: InspectedBundle, layout: Layout): string {
  if (images.length === 0) return '';
  const rows = images.map(({ name, tag, digest, subject }) => [
    formatImageName({ name, ...(tag !== undefined && { tag: tag as Tag }) }),
    shortDigest(digest),
    subject === undefined ? '' : shortDigest(subject),
  ]);
  return formatRows(['IMAGE', 'DIGEST', 'ATTACHED TO'], rows, layout);
}

function formatReleased({ manifest: { released } }: InspectedBundle, layout: Layout): string {
  if (released.length === 0) return '';
  const rows = released.map((image) => [image]);
  return formatRows(['RELEASED'], rows, layout);
}

function formatFiles({ manifest: { files } }: InspectedBundle, layout: Layout): string {
  if (files.length === 0) return '';
  const rows = files.map(({ name, digest, size }) => [name, shortDigest(digest), roundSize(size)]);
  return formatRows(['FILE', 'DIGEST', 'SIZE'], rows, layout);
}

function formatParts({ manifest, parts, missing }: InspectedBundle, layout: Layout): string {
  const sizes = expectedSizes(manifest);
  const name = (part: number): string => (part === PARITY_PART ? 'parity' : String(part));
  const hasParity = parts.some(({ part }) => part === PARITY_PART);
  const lost = manifest.hasParity && !hasParity ? [...missing, PARITY_PART] : missing;
  const rows = [
    ...parts.map(({ part, size, path, problem = '' }) => ({
      part,
      row: [name(part), roundSize(size), problem === '' ? 'whole' : 'wrong', path, problem],
    })),
    ...lost.map((part) => ({
      part,
      row: [name(part), roundSize(sizes[part] ?? 0), 'missing', '', ''],
    })),
  ];
  // The parity part is the last.
  const sorted = rows.toSorted(
    (a, b) => (a.part || Number.MAX_SAFE_INTEGER) - (b.part || Number.MAX_SAFE_INTEGER),
  );
  const heading = ['PART', 'SIZE', 'STATE', 'FILE', 'WHY'];
  const isRight = parts.every(({ problem }) => !problem);
  const table = [heading, ...sorted.map(({ row }) => row)];
  return formatTable(isRight ? table.map((row) => row.slice(0, -1)) : table, layout.columns);
}

function sizeOf(blobs: readonly BundledBlob[]): number {
  return sum(blobs.map(({ size }) => size));
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
