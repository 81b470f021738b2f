import type { FileHandle } from 'node:fs/promises';
import type { Pin } from '../../api/store-api.ts';
import { isDigest } from '../../oci/digest.ts';
import { isTag, isTargetName } from '../../oci/reference.ts';
import type { JournalEntry } from '../catalog/catalog.ts';

/** Longer lines are damage: no entry is as long. */
export const MAX_LINE_BYTES = 64 * 1024;

export function formatLine(entry: JournalEntry): string {
  return `${JSON.stringify(entry)}\n`;
}

/** `undefined` for what is no entry: torn, damaged, or of a later version. */
export function parseLine(line: string): JournalEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isObject(value) && isEntry(value) ? (value as unknown as JournalEntry) : undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function isEntry(entry: Fields): boolean {
  if ('pin' in entry) return isPin(entry['pin']);
  if ('unpin' in entry) return isObject(entry['unpin']) && isPinned(entry['unpin']);
  if (!isTarget(entry['of'])) return false;
  if ('manifest' in entry) {
    const { manifest, type, at, seen = at } = entry;
    return isDigest(manifest) && typeof type === 'string' && isTime(at) && isTime(seen);
  }
  if ('tag' in entry) {
    const { tag, is, at, until = at } = entry;
    return isTag(tag) && isDigest(is) && isTime(at) && isTime(until);
  }
  if ('blob' in entry) return isDigest(entry['blob']);
  if ('gone' in entry) return isDigest(entry['gone']);
  return isTag(entry['untagged']);
}

function isPin(value: unknown): value is Pin {
  if (!isObject(value) || !isPinned(value) || !isTime(value['since'])) return false;
  const { tags } = value;
  const isTagged = Array.isArray(tags) && tags.every((tag) => typeof tag === 'string');
  if (tags !== undefined && !isTagged) return false;
  return value['reason'] === undefined || typeof value['reason'] === 'string';
}

function isPinned({ origin, image }: Fields): boolean {
  return typeof origin === 'string' && typeof image === 'string';
}

function isTarget(value: unknown): boolean {
  return typeof value === 'string' && isTargetName(value);
}

function isTime(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 10;

/**
 * The lines of the first `size` bytes of a file, also one that has no end; empty ones are left out.
 * `undefined` stands for a line that is longer than any entry.
 */
export async function* readLines(
  handle: FileHandle,
  size: number,
): AsyncGenerator<string | undefined> {
  let carry = Buffer.alloc(0);
  let isTooLong = false;
  for (let position = 0; position < size;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - position));
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    let rest: Buffer = Buffer.concat([carry, chunk.subarray(0, bytesRead)]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      if (isTooLong || end > MAX_LINE_BYTES) yield undefined;
      else if (end > 0) yield rest.toString('utf8', 0, end);
      isTooLong = false;
      rest = rest.subarray(end + 1);
    }
    isTooLong ||= rest.length > MAX_LINE_BYTES;
    carry = isTooLong ? Buffer.alloc(0) : Buffer.from(rest);
  }
  if (isTooLong) yield undefined;
  else if (carry.length > 0) yield carry.toString('utf8');
}
