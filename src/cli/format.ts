import type { ImageSummary, Pin } from '../api/store-api.ts';
import { TEXTS } from './texts.ts';

const SIZE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const MINUTE = 60_000;
const AGE_UNITS = [
  ['day', 24 * 60 * MINUTE],
  ['hour', 60 * MINUTE],
  ['minute', MINUTE],
] as const;

/** `1 image`, `2 images`. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** A size to read: three digits are enough. */
export function roundSize(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(SIZE_UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const amount = bytes / 1024 ** power;
  // 1023.7 KiB would be 1.02e+3 in three digits.
  const digits =
    power === 0 || amount >= 999.5 ? String(Math.round(amount)) : amount.toPrecision(3);
  return `${digits} ${SIZE_UNITS[power]}`;
}

/** `3 days ago`, of two points in milliseconds; nothing is told of the future. */
export function formatAge(at: number, now: number): string {
  const age = now - at;
  const [unit, length] = AGE_UNITS.find(([, length]) => age >= length) ?? [undefined, 1];
  if (unit === undefined) return 'just now';
  relativeTime ??= new Intl.RelativeTimeFormat('en');
  return relativeTime.format(-Math.floor(age / length), unit);
}

/** Made when an age is told: a server tells none, and its tables take megabytes. */
let relativeTime: Intl.RelativeTimeFormat | undefined;

/** Enough of a digest to tell it from others in a table: `sha256:0123456789ab`. */
export function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}

/** How sync says that it keeps what a bundle brought: with the series of it. */
const BY_BUNDLE = /^bundle [\da-f-]+$/;

/** What lacks of an image, and how much of that has come in parts of blobs. */
export function describeLack({
  missingBytes,
  arrivedBytes,
}: Pick<ImageSummary, 'missingBytes' | 'arrivedBytes'>): string {
  const lack = `${roundSize(missingBytes)} missing`;
  if (arrivedBytes === undefined) return lack;
  const percent = wholePercent(arrivedBytes, missingBytes);
  return `${lack}, ${TEXTS.arrivedOfMissing({ percent })}`;
}

/** A part is never all of it, and never nothing. */
export function wholePercent(part: number, whole: number): number {
  return Math.min(99, Math.max(1, Math.floor((100 * part) / whole)));
}

/** Who pinned it: `by hand`, `by the configuration`, `in use by SOURCE`, `by sync`, `by bundle SERIES`. */
export function describeOrigin({ origin, reason = '' }: Pin): string {
  if (origin === 'sync' && BY_BUNDLE.test(reason)) return `by ${reason}`;
  if (origin === 'hand') return 'by hand';
  if (origin === 'config') return 'by the configuration';
  return origin.startsWith('use:') ? `in use by ${origin.slice('use:'.length)}` : `by ${origin}`;
}

/** Why, where that is more than who. */
export function describePinReason({ origin, reason = '' }: Pin): string {
  return origin === 'sync' && BY_BUNDLE.test(reason) ? '' : reason;
}

const GAP = '  ';

/**
 * Rows in aligned columns, two spaces apart; the first row is the heading. Where a terminal of so many
 * `columns` is too narrow, the first cell has a line of its own, to be copied whole, and the widest of
 * the others go on below themselves. Where not even their longest words stand side by side, each cell
 * has a line of its own, behind its heading.
 */
export function formatTable(table: readonly (readonly string[])[], columns = Infinity): string {
  const rows = table.map((row) => row.map(onOneLine));
  const widths = widthsOf(rows);
  if (totalOf(widths) <= columns) {
    return rows.map((row) => `${layOut(row, widths).join('\n')}\n`).join('');
  }
  const rest = rows.map((row) => row.slice(1));
  const narrowed = narrow(widthsOf(rest), { rows: rest, columns: columns - GAP.length });
  if (!narrowed) return formatRecords(rows, columns);
  const lines = rows.flatMap(([name = ''], at) => [
    ...(name === '' ? [] : [name]),
    ...layOut(rest[at] ?? [], narrowed).map((line) => `${GAP}${line}`.trimEnd()),
  ]);
  return `${lines.join('\n')}\n`;
}

function formatRecords(
  [heading = [], ...rows]: readonly (readonly string[])[],
  columns: number,
): string {
  const headings = heading.slice(1);
  const labels = headings.map((heading) => `${GAP}${heading.padEnd(widthOf(headings))}${GAP}`);
  return rows
    .flatMap(([name = '', ...cells]) => [
      name === '' ? '' : `${name}\n`,
      ...cells.map((cell, column) =>
        cell === '' ? '' : formatLabelled(labels[column] ?? '', cell, columns),
      ),
    ])
    .join('');
}

/**
 * A text behind its label, which on a terminal of so many `columns` goes on beside the label, or below
 * it where that is what a long word of it needs.
 */
export function formatLabelled(label: string, text: string, columns = Infinity): string {
  const line = onOneLine(text);
  const longest = longestWord(line).length;
  const below = 2 * GAP.length;
  const isBelow = label.length + longest > columns && below + longest <= columns;
  const indent = isBelow ? below : label.length;
  const [first = '', ...more] = fold(line, Math.max(1, columns - indent));
  const lines = isBelow ? [label.trimEnd(), ' '.repeat(below) + first] : [label + first];
  return [...lines, ...more.map((part) => ' '.repeat(indent) + part), ''].join('\n');
}

function widthOf(texts: readonly string[]): number {
  return texts.reduce((widest, { length }) => Math.max(widest, length), 0);
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  return (rows[0] ?? []).map((_, column) => widthOf(rows.map((row) => row[column] ?? '')));
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
}

/** Takes from the widest column until all fit; `undefined` when a word would have to be broken. */
function narrow(
  widths: readonly number[],
  { rows, columns }: { rows: readonly (readonly string[])[]; columns: number },
): number[] | undefined {
  const least = widthsOf(rows.map((row) => row.map(longestWord)));
  const narrowed = [...widths];
  for (let excess = totalOf(widths) - columns; excess > 0; excess -= 1) {
    const spare = narrowed.map((width, column) => (width > (least[column] ?? 0) ? width : 0));
    const widest = Math.max(...spare);
    if (widest === 0) return undefined;
    narrowed[spare.indexOf(widest)] = widest - 1;
  }
  return narrowed;
}

function longestWord(text: string): string {
  return text.split(' ').reduce((longest, word) => (word.length > longest.length ? word : longest));
}

/** One row, in as many lines as its highest cell takes. */
function layOut(row: readonly string[], widths: readonly number[]): string[] {
  const cells = row.map((cell, column) => fold(cell, widths[column] ?? 0));
  const height = Math.max(...cells.map(({ length }) => length));
  return Array.from({ length: height }, (_, at) =>
    cells
      .map((cell, column) => (cell[at] ?? '').padEnd(widths[column] ?? 0))
      .join(GAP)
      .trimEnd(),
  );
}

/** In lines of this width, broken between words; a longer word has a line of its own. */
function fold(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const before = text.lastIndexOf(' ', width);
  const end = before > 0 ? before : text.indexOf(' ', 1);
  if (end < 0) return [text];
  return [text.slice(0, end), ...fold(text.slice(end + 1), width)];
}

/** Text of others must neither break a table nor control the terminal. */
export function onOneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
