// npm run attack [-- NAME...]: the kinds of attack that need their full size, one after the other.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attack } from './long/attack.ts';

const FOLDER = join(import.meta.dirname, 'long');

const wanted = process.argv.slice(2);
const failed: string[] = [];
for (const file of (await readdir(FOLDER)).toSorted()) {
  const name = file.replace(/\.ts$/, '');
  const { attack } = (await import(join(FOLDER, file))) as { attack?: Attack };
  if (!attack || (wanted.length > 0 && !wanted.includes(name))) continue;
  await using scope = new AsyncDisposableStack();
  const { holds, seen } = await attack.run({ teardown: (end) => scope.defer(async () => end()) });
  if (!holds) failed.push(name);
  process.stdout.write(`${holds ? 'holds' : 'FAILS'}  ${name}: ${attack.claim}: ${seen}\n`);
}
process.exitCode = failed.length === 0 ? 0 : 1;
