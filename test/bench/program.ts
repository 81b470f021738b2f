import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** How operators start what this is the main file of: a package by its launcher, a checkout as `npm start` does. */
export function programOf(main: string): readonly [string, ...string[]] {
  if (basename(main) === 'main.js') return [join(dirname(main), 'entrepot')];
  const checkout = join(dirname(main), '..');
  const script = join(checkout, 'deploy', 'package', 'start.sh');
  // An older checkout has the whole command there.
  const start = existsSync(script) ? script : join(checkout, 'package.json');
  const [, flags = ''] = /exec node ((?:--\S+ )*)/.exec(readFileSync(start, 'utf8')) ?? [];
  return [process.execPath, ...flags.split(' ').filter(Boolean), main];
}
