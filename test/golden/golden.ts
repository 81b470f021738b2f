import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

/**
 * Compares with `test/golden/<name>`, byte for byte. `GOLDEN=write` makes the files anew: for a
 * change that clients and operators are meant to see, and that the changelog names.
 */
export function matchGolden(t: ExecutionContext, name: string, text: string): void {
  const path = fileURLToPath(new URL(name, import.meta.url));
  if (process.env['GOLDEN'] === 'write') writeFileSync(path, text);
  t.is(text, readFileSync(path, 'utf8'));
}
