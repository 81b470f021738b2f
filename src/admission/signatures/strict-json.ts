import { refuse } from './refused.ts';
import { TEXTS } from './texts.ts';

const MAX_DEPTH = 64;
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * JSON that everybody reads in the same way: in UTF-8, no name twice in an object. At most so many bytes, and
 * 64 levels. Throws `Refused`.
 */
export function parseStrictJson(bytes: Uint8Array, most: number): unknown {
  if (bytes.length > most) throw refuse('too-large', { most });
  const text = decode(bytes);
  const value = parse(text);
  checkNames(text);
  return value;
}

/** An object as `parseStrictJson` reads it. */
export function parseStrictObject(
  bytes: Uint8Array,
  what: string,
  most: number,
): Readonly<Record<string, unknown>> {
  return asObject(parseStrictJson(bytes, most), what);
}

export function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse('malformed', { why: TEXTS.noObject({ what }) });
  }
  return value as Readonly<Record<string, unknown>>;
}

export function asText(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw refuse('malformed', { why: TEXTS.noText({ what }) });
}

/** The bytes of a text in base64 as RFC 4648 writes it: other spellings of the same bytes are refused. */
export function asBytes(value: unknown, what: string): Buffer<ArrayBuffer> {
  const text = asText(value, what);
  const bytes = Buffer.from(text, 'base64');
  if (text !== '' && bytes.toString('base64') === text) return bytes;
  throw refuse('malformed', { why: TEXTS.noBase64({ what }) });
}

function decode(bytes: Uint8Array): string {
  try {
    return UTF_8.decode(bytes);
  } catch {
    throw refuse('malformed', { why: TEXTS.notUtf8 });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse('malformed', { why: TEXTS.notJson });
  }
}

/** Of a text that is JSON. */
function checkNames(text: string): void {
  /** Of each object that is open here the names so far; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = [];
  let isName = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      if (isName) addName(open.at(-1), JSON.parse(text.slice(at, end + 1)) as string);
      isName = false;
      at = end;
    } else if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      if (open.length > MAX_DEPTH)
        throw refuse('malformed', { why: TEXTS.deep({ most: MAX_DEPTH }) });
      isName = character === '{';
    } else if (character === '}' || character === ']') {
      open.pop();
    } else if (character === ',') {
      isName = open.at(-1) !== undefined;
    }
  }
}

function addName(names: Set<string> | undefined, name: string): void {
  if (names?.has(name)) throw refuse('malformed', { why: TEXTS.twice({ name }) });
  names?.add(name);
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end;
}

function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (text[first - 1] === '\\') first -= 1;
  return (at - first) % 2 === 1;
}
