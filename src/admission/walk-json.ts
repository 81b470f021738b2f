const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** By the code of the character. */
const MARKS: (JsonMark | undefined)[] = Array.from({ length: 256 });
for (const mark of ['{', '}', '[', ']', ',', '"'] as const) MARKS[mark.charCodeAt(0)] = mark;

export type JsonMark = '{' | '}' | '[' | ']' | ',' | '"';

/**
 * Visits what gives JSON its form, before or without building anything of it: brackets, commas, and texts as
 * wholes (`start` and `end` are their quotes). `true` ends the walk. What is no JSON has marks as well.
 */
export function walkJson(
  bytes: Buffer,
  visit: (mark: JsonMark, start: number, end: number) => boolean,
): void {
  for (let at = 0; at < bytes.length; at++) {
    const mark = MARKS[bytes[at]!];
    if (mark === undefined) continue;
    const end = mark === '"' ? endOfText(bytes, at) : at;
    if (visit(mark, at, end)) return;
    at = end;
  }
}

/** Where the quote is that ends a text; the end of all where there is none. */
function endOfText(bytes: Buffer, start: number): number {
  let end = bytes.indexOf(QUOTE, start + 1);
  while (end !== -1 && isEscaped(bytes, end)) end = bytes.indexOf(QUOTE, end + 1);
  return end === -1 ? bytes.length : end;
}

function isEscaped(bytes: Buffer, at: number): boolean {
  let first = at;
  while (bytes[first - 1] === BACKSLASH) first--;
  return (at - first) % 2 === 1;
}
