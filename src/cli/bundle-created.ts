import type { DraftReport } from '../api/bundle-api.ts';
import { describeImages } from './bundle-format.ts';
import type { PackedPart } from './bundle-packing.ts';
import { count, formatLabelled, formatTable, roundSize } from './format.ts';
import { formatRebuilt, type RebuiltLayers } from './rebuilt-layers.ts';
import { TEXTS } from './texts.ts';

/** What became of a bundle that was asked for. */
export interface CreateReport extends Pick<
  DraftReport,
  'there' | 'problems' | 'unasked' | 'refused'
> {
  /** The id of the key that signed it. */
  readonly key: string;
  /** Absent, as all below, where something could not be fetched. */
  readonly series?: string;
  /** Absent where there was nothing to carry. */
  readonly number?: number;
  readonly site?: string;
  readonly images?: number;
  readonly tags?: number;
  /** Signatures, attestations and what else is attached to images. */
  readonly attached?: number;
  readonly blobs?: number;
  readonly bytes?: number;
  /** Absent also where no layer is. */
  readonly rebuilt?: RebuiltLayers;
  readonly files?: readonly string[];
  readonly released?: readonly string[];
  readonly parts: readonly PackedPart[];
}

export function formatCreated(report: CreateReport, columns: number | undefined): string {
  const { problems, series, number } = report;
  const line = (text: string): string => formatLabelled('', text, columns);
  if (problems.length > 0) return line(TEXTS.bundleNotMade) + formatProblems(report, columns);
  const notes = [
    ...report.unasked.map((image) => TEXTS.bundleUnasked({ image })),
    ...report.refused.map((refused) => TEXTS.bundleLeftOut(refused)),
  ];
  const unasked = notes.map(line).join('');
  if (number === undefined) return `${line(TEXTS.bundleNothing(describeThere(report)))}${unasked}`;
  const { images = 0, tags = 0, attached = 0, blobs = 0, bytes = 0 } = report;
  const { files = [], released = [] } = report;
  const counted = describeImages({ images, tags, attached });
  const carried = `${counted}, ${count(blobs, 'blob')} of ${roundSize(bytes)}`;
  const label = (name: string, text: string): string =>
    formatLabelled(name.padEnd(LABEL), text, columns);
  return [
    label('bundle', `${number} of series ${series}`),
    ...(report.site === undefined ? [] : [label('for', `site ${report.site}`)]),
    label('carries', carried),
    ...(report.rebuilt ? [label('rebuilds', formatRebuilt(report.rebuilt))] : []),
    ...files.map((name) => label('with', name)),
    ...(report.site === undefined ? [] : [label('there', describeThere(report).there)]),
    ...released.map((image) => label('releases', image)),
    label('key', report.key),
    ...report.parts.map(({ part, path, size }) =>
      label(part === 0 ? 'parity' : 'part', `${path} (${roundSize(size)})`),
    ),
    unasked,
  ].join('');
}

const LABEL = 'releases '.length;

function describeThere({ there }: CreateReport): { there: string } {
  const { images = 0, blobs = 0, bytes = 0 } = there ?? {};
  return {
    there: `${count(images, 'image')} whole, ${count(blobs, 'blob')} of ${roundSize(bytes)}`,
  };
}

function formatProblems({ problems }: CreateReport, columns: number | undefined): string {
  const rows = problems.map(({ image, reason }) => [image, reason]);
  return formatTable([['IMAGE', 'REASON'], ...rows], columns);
}
