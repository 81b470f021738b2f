/** 15 digits are exact as a number and more bytes than any content has. */
const LENGTH = /^\d{1,15}$/;
const CONTENT_RANGE = /^bytes +(\d+)-(\d+)\/(\d+|\*)$/i;

/** A count of bytes or a position as headers write it; `undefined` for anything else. */
export function parseLength(text: string | undefined): number | undefined {
  return text !== undefined && LENGTH.test(text) ? Number(text) : undefined;
}

/** What a `Content-Range` says: byte positions, `end` exclusive, and the whole when it is told. */
export interface ContentRange {
  readonly start: number;
  readonly end: number;
  readonly size?: number;
}

/** `undefined` for what is no range of bytes, or none that can be: empty, or past the whole. */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const [, first, last, whole] = CONTENT_RANGE.exec(header ?? '') ?? [];
  const [start, end] = [parseLength(first), parseLength(last)];
  if (start === undefined || end === undefined || end < start) return undefined;
  if (whole === '*') return { start, end: end + 1 };
  const size = parseLength(whole);
  return size === undefined || end >= size ? undefined : { start, end: end + 1, size };
}
