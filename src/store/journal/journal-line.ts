import type { Pin } from '../../api/store-api.ts';
import { isDigest } from '../../oci/digest.ts';
import { isTag, isTargetName } from '../../oci/reference.ts';
import type { JournalEntry } from '../catalog/journal-entry.ts';

/** No entry is longer; what is comes from a damaged file. */
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
    return isDigest(entry['manifest']) && typeof entry['type'] === 'string' && isTime(entry['at']);
  }
  if ('tag' in entry) return isTag(entry['tag']) && isDigest(entry['is']) && isTime(entry['at']);
  if ('blob' in entry) return isDigest(entry['blob']);
  if ('gone' in entry) return isDigest(entry['gone']);
  return isTag(entry['untagged']);
}

function isPin(value: unknown): value is Pin {
  if (!isObject(value) || !isPinned(value) || !isTime(value['since'])) return false;
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
