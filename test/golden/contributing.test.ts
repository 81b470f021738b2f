import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '..', '..');

for (const document of ['CONTRIBUTING.md', 'README.md']) {
  test(`the files that ${document} names are there`, (t) => {
    const text = readFileSync(join(ROOT, document), 'utf8');
    const paths = text.match(/(?<![\w/])(src|sync|test|deploy|\.ci)\/[\w./-]+\.\w+/g) ?? [];
    t.deepEqual(
      paths.filter((path) => !existsSync(join(ROOT, path))),
      [],
    );
  });
}

test('the layout in CONTRIBUTING.md has every room', (t) => {
  const text = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const rooms = readdirSync(join(ROOT, 'src'), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  t.deepEqual(
    rooms.filter((room) => !text.includes(` ${room}/ `)),
    [],
  );
});
