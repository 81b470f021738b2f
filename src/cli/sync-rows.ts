import { onOneLine, formatTable } from './table.ts';

const SHOWN = 50;

/** A table of at most 50 rows, and how many more there are; all of them with `isAll`. */
export function formatRows(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  isAll = true,
): string {
  const shown = isAll ? rows : rows.slice(0, SHOWN);
  const more = rows.length - shown.length;
  return `${formatTable([heading, ...shown])}${more === 0 ? '' : `${more} more: --all shows them\n`}`;
}

/** A table under a title, with an empty line in front; nothing without rows. */
export function formatPart(
  title: string,
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return rows.length === 0 ? '' : `\n${onOneLine(title)}\n${formatRows(heading, rows)}`;
}
