import { globSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { matchGolden } from './golden.ts';

type Text = string | ((parts: never) => string);

/** Whatever is put into a text, by the name it has there. */
const NAMES = new Proxy({}, { get: (_, name) => `<${String(name)}>` }) as never;

const ROOT = join(import.meta.dirname, '..', '..');
const TABLES = globSync('{src,sync}/**/texts.ts', { cwd: ROOT }).toSorted();

/** `src/store/care/texts.ts` is `texts/store-care.txt`. */
function fileOf(table: string): string {
  return `${dirname(table)
    .replace(/^src\//, '')
    .replaceAll('/', '-')}.txt`;
}

for (const table of TABLES) {
  test(`the texts of ${dirname(table)}`, async (t) => {
    const { TEXTS } = (await import(join(ROOT, table))) as {
      TEXTS: Readonly<Record<string, Text>>;
    };
    const lines = Object.entries(TEXTS).map(
      ([name, text]) => `${name}: ${typeof text === 'string' ? text : text(NAMES)}\n`,
    );
    matchGolden(t, `texts/${fileOf(table)}`, lines.join(''));
  });
}

test('every room with texts has its file, and every file its room', (t) => {
  const files = readdirSync(join(import.meta.dirname, 'texts'));
  t.deepEqual(files.toSorted(), TABLES.map(fileOf).toSorted());
});
