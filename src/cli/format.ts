import type { Pin } from '../api/store-api.ts';

const SIZE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const MINUTE = 60_000;
const AGE_UNITS = [
  ['day', 24 * 60 * MINUTE],
  ['hour', 60 * MINUTE],
  ['minute', MINUTE],
] as const;
const RELATIVE_TIME = new Intl.RelativeTimeFormat('en');

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
  return unit === undefined ? 'just now' : RELATIVE_TIME.format(-Math.floor(age / length), unit);
}

/** Enough of a digest to tell it from others in a table: `sha256:0123456789ab`. */
export function shortDigest(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13);
}

/** Who pinned it: `by hand`, `by the configuration`, `in use by SOURCE`, `by sync`. */
export function describeOrigin({ origin }: Pin): string {
  if (origin === 'hand') return 'by hand';
  if (origin === 'config') return 'by the configuration';
  return origin.startsWith('use:') ? `in use by ${origin.slice('use:'.length)}` : `by ${origin}`;
}

/** Rows in aligned columns, two spaces apart; the first row is the heading. */
export function formatTable(table: readonly (readonly string[])[]): string {
  const rows = table.map((row) => row.map(onOneLine));
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((widest, row) => Math.max(widest, (row[column] ?? '').length), 0),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Text of others must neither break a table nor control the terminal. */
export function onOneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
