import { walkJson } from '../walk-json.ts';

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
  let excess: 'depth' | 'items' | undefined;
  walkJson(bytes, (mark) => {
    if (mark === '"') return false;
    if (mark === ']' || mark === '}') depth--;
    else items++;
    if (mark === '[' || mark === '{') depth++;
    if (depth > bounds.depth) excess = 'depth';
    else if (items > bounds.items) excess = 'items';
    return excess !== undefined;
  });
  return excess;
}
