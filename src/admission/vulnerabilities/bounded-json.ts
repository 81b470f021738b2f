/** How large a document may be besides its bytes. */
export interface JsonBounds {
  /** Of lists and objects within each other. */
  readonly depth: number;
  /** Of lists, objects and their members together; each takes memory of its own. */
  readonly items: number;
}

export type BoundedJson =
  | { readonly kind: 'object'; readonly value: Readonly<Record<string, unknown>> }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'excess'; readonly of: 'depth' | 'items' };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/**
 * Reads what somebody else wrote as a JSON object. Depth and items are counted over the bytes before
 * anything is built of them: 16 MiB of `[[[[…` or `{},{},…` would take hundreds of MiB.
 */
export function parseBoundedJson(bytes: Buffer, bounds: JsonBounds): BoundedJson {
  const of = excessOf(bytes, bounds);
  if (of) return { kind: 'excess', of };
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isRecord(value) ? { kind: 'object', value } : { kind: 'malformed' };
  } catch {
    return { kind: 'malformed' };
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The list, or none where there is something else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

/** The text where it has one, of at most so many characters. */
export function textOf(value: unknown, most: number): string | undefined {
  return typeof value === 'string' && value.length <= most ? value : undefined;
}

function excessOf(bytes: Buffer, bounds: JsonBounds): 'depth' | 'items' | undefined {
  let depth = 0;
  let items = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) at = endOfText(bytes, at);
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > bounds.depth) return 'depth';
      if (++items > bounds.items) return 'items';
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
    else if (byte === COMMA && ++items > bounds.items) return 'items';
  }
  return undefined;
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
