import { parse } from 'smol-toml';

/** `undefined` for what is no TOML. */
export function parseToml(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return parse(text.replace(/^\u{feff}/u, ''), { integersAsBigInt: 'asNeeded' });
  } catch {
    return undefined;
  }
}

/** The table at this path of keys; an empty one where there is none. */
export function tableAt(
  value: unknown,
  ...path: readonly string[]
): Readonly<Record<string, unknown>> {
  let at: unknown = value;
  for (const key of path) at = isTable(at) ? at[key] : undefined;
  return isTable(at) ? at : {};
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
