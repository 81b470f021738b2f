import type { Json, JsonValue } from './authority.ts';

/** A change of a document; the document that it is given stays as it is. */
export type Mutation = (document: Json) => Json;

/** What stands at a path like `a.0.b`. */
export function get(document: Json, path: string): JsonValue {
  let value: JsonValue = document;
  for (const name of path.split('.')) value = (value as Json)[name];
  return value;
}

export function getText(document: Json, path: string): string {
  return get(document, path) as string;
}

export function edit(path: string, change: (value: JsonValue) => JsonValue): Mutation {
  return (document) => {
    const copy = structuredClone(document);
    const names = path.split('.');
    const last = names.pop()!;
    const parent = (names.length > 0 ? get(copy, names.join('.')) : copy) as Json;
    parent[last] = change(parent[last]);
    return copy;
  };
}

/** Another text in place of the one that stands there. */
export function reword(path: string, change: (text: string) => string): Mutation {
  return edit(path, (value) => change(value as string));
}

/** The list that stands there, and more. */
export function add(path: string, ...more: readonly JsonValue[]): Mutation {
  return edit(path, (list) => [...(list as JsonValue[]), ...more]);
}

/** The list that stands there, so many times the first. */
export function repeat(path: string, count: number): Mutation {
  return edit(path, (list) => Array.from({ length: count }, () => (list as JsonValue[])[0]));
}

export function set(path: string, value: JsonValue): Mutation {
  return edit(path, () => value);
}

/** Without what stands at the path. */
export function drop(path: string): Mutation {
  return (document) => {
    const copy = set(path, undefined)(document);
    return JSON.parse(JSON.stringify(copy)) as Json;
  };
}

export function chain(...mutations: readonly Mutation[]): Mutation {
  return (document) => mutations.reduce((result, mutation) => mutation(result), document);
}

/** What stands there in another document. */
export function take(path: string, from: Json): Mutation {
  return set(path, get(from, path));
}

/** Of bytes in base64, another last bit of one byte, counted from the end where that is negative. */
export function flip(path: string, at = -1): Mutation {
  return bytes(path, (value) => {
    const place = at < 0 ? value.length + at : at;
    value[place] = value[place]! ^ 1;
    return value;
  });
}

/** Other bytes in place of those that stand there in base64. */
export function bytes(path: string, change: (value: Buffer) => Uint8Array): Mutation {
  return reword(path, (value) =>
    Buffer.from(change(Buffer.from(value, 'base64'))).toString('base64'),
  );
}

/** Another text in place of the one that stands there in base64. */
export function text(path: string, change: (value: string) => string): Mutation {
  return bytes(path, (value) => Buffer.from(change(value.toString())));
}
