import { refuse } from './refused.ts';
import { walkJson } from '../walk-json.ts';
import { TEXTS } from './texts.ts';

const MAX_DEPTH = 64;
/** Of what is read before it is known who signed it: what is long in it is one text. */
const MAX_MARKS = 10_000;
const MARKS = [',', '[', '{'].map((mark) => mark.charCodeAt(0));
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * JSON that everybody reads in the same way: in UTF-8, no name twice in an object. At most so many bytes, and
 * 64 levels. Throws `Refused`.
 */
function parseStrictJson(bytes: Uint8Array, most: number): unknown {
  if (bytes.length > most) throw refuse('too-large', { most });
  const value = parse(decode(bytes));
  checkNames(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
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

/** Throws `Refused` for more than 10,000 lists, objects and items, which take seconds to read. */
export function checkMarks(bytes: Uint8Array): void {
  let marks = 0;
  for (const byte of bytes) if (MARKS.includes(byte)) marks += 1;
  if (marks > MAX_MARKS)
    throw refuse('malformed', { why: TEXTS.tooMany({ what: 'parts', most: MAX_MARKS }) });
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

/** Of what is JSON. */
function checkNames(bytes: Buffer): void {
  /** Of each object that is open here the names so far; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = [];
  let isName = false;
  walkJson(bytes, (mark, start, end) => {
    if (mark === '"') {
      const text = String(bytes.subarray(start, end + 1));
      if (isName) addName(open.at(-1), JSON.parse(text) as string);
    } else if (mark === '}' || mark === ']') {
      open.pop();
    } else if (mark !== ',') {
      open.push(mark === '{' ? new Set() : undefined);
      if (open.length > MAX_DEPTH)
        throw refuse('malformed', { why: TEXTS.deep({ most: MAX_DEPTH }) });
    }
    isName = (mark === '{' || mark === ',') && open.at(-1) !== undefined;
    return false;
  });
}

function addName(names: Set<string> | undefined, name: string): void {
  if (names?.has(name)) throw refuse('malformed', { why: TEXTS.twice({ name }) });
  names?.add(name);
}
