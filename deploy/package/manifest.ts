// What npm runs around `npm pack`: the package.json in the tarball is that of a bundle, and `--restore` brings
// back that of the checkout. Where `npm pack` was killed between the two, it is to be run by hand.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
const MANIFEST = join(ROOT, 'package.json');
const KEPT = join(ROOT, '.cache', 'package.json');

/** What only those who build it need. */
const LEFT_OUT = new Set(['scripts', 'devDependencies', 'ava', 'c8', 'allowScripts']);

/** The database, and the comparison of passwords. */
const COMPILED = ['classic-level', '@node-rs/bcrypt'];

const text = readFileSync(MANIFEST, 'utf8');
const manifest = JSON.parse(text) as object;
if (process.argv[2] === '--restore') {
  if (!('scripts' in manifest)) renameSync(KEPT, MANIFEST);
} else {
  mkdirSync(dirname(KEPT), { recursive: true });
  writeFileSync(KEPT, text);
  writeFileSync(MANIFEST, `${JSON.stringify(packed(), null, 2)}\n`);
}

/** Its packages are in the bundle, but for those with a compiled part: of them, what was tested. */
function packed(): object {
  return {
    ...Object.fromEntries(Object.entries(manifest).filter(([key]) => !LEFT_OUT.has(key))),
    bin: { entrepot: 'dist/entrepot' },
    exports: { './api': { types: './dist/api/index.d.ts' }, './package.json': './package.json' },
    dependencies: Object.fromEntries(COMPILED.map((name) => [name, versionOf(name)])),
  };
}

function versionOf(name: string): string {
  const manifest = readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
