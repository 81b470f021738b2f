import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** How operators start what this is the main file of: a package by its launcher, a checkout as `npm start` does. */
export function programOf(main: string): readonly [string, ...string[]] {
  if (basename(main) === 'main.js') return [join(dirname(main), 'entrepot')];
  const { scripts } = JSON.parse(
    readFileSync(join(dirname(main), '..', 'package.json'), 'utf8'),
  ) as { scripts: { start: string } };
  return [process.execPath, ...(scripts.start.match(/--\S+/g) ?? []), main];
}
