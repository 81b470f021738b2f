import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import test from 'ava';
import {
  DOORS,
  HEADS,
  ROOMS,
  isFile,
  outerOf,
  pathOf,
  roomOf,
  seenFrom,
  type Room,
} from '../../oxlint.config.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { createTempFolder } from '../helpers/mirror.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FILES = globSync('{src,sync}/**/*.{ts,js}', { cwd: ROOT }).toSorted();
const TEXTS = new Map(FILES.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]));

/** What each file imports: files by their path, packages by their name. */
const IMPORTS = new Map(FILES.map((file) => [file, importsOf(file)]));

test('each room imports what its line in the walls says, and shows what others import', (t) => {
  t.deepEqual(roomsByImports(), ROOMS);
});

test('a room imports only rooms that stand before it', (t) => {
  const order = Object.keys(ROOMS);
  for (const [room, { imports }] of Object.entries(ROOMS)) {
    for (const other of imports) t.true(order.indexOf(other) < order.indexOf(room), room);
  }
});

test('no file imports itself by way of others', (t) => {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) t.fail([...way, file].join(' > '));
    else if (!done.has(file)) {
      for (const other of IMPORTS.get(file) ?? []) visit(other, [...way, file]);
      done.add(file);
    }
  };
  for (const file of FILES) visit(file, []);
  t.true(FILES.every((file) => done.has(file)));
});

test('no file has more than 350 lines', (t) => {
  const long = FILES.filter((file) => TEXTS.get(file)!.split('\n').length > 351);
  t.deepEqual(long, []);
});

test('each package that is depended on is imported where it has a door, and nowhere else', (t) => {
  t.deepEqual(Object.keys(DOORS).toSorted(), Object.keys(packageJson.dependencies).toSorted());
  for (const [name, doors] of Object.entries(DOORS)) {
    const files = FILES.filter((file) => IMPORTS.get(file)?.includes(name));
    const strangers = files.filter((file) => !doors.some((door) => isIn(file, door)));
    t.deepEqual(strangers, [], name);
    const unused = doors.filter((door) => !files.some((file) => isIn(file, door)));
    t.deepEqual(unused, [], name);
  }
});

test('the table of rooms in CONTRIBUTING.md is that of the walls', (t) => {
  const document = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const rows = document.matchAll(/^\| `(?<room>[^`]+)` +\| (?<imports>[^|]*?) *\|$/gm);
  const told = [...rows].map(({ groups }) => [groups!['room'], groups!['imports']]);
  t.deepEqual(
    told,
    Object.entries(ROOMS).map(([room, { imports }]) => [room, imports.join(', ') || 'nothing']),
  );
});

test('the layout in CONTRIBUTING.md names every room', (t) => {
  const document = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
  const layout = document.split('## Layout')[1]?.split('```')[1] ?? '';
  const named = [...layout.matchAll(/^ *(\S+\/|\S+\.[jt]s) /gm)].map(([, name]) => name);
  const rooms = Object.keys(ROOMS).map((room) => (isFile(room) ? room : `${basename(room)}/`));
  t.deepEqual(
    rooms.filter((room) => !named.includes(room)),
    [],
  );
});

test('the linter refuses each import through a wall, and no other', async (t) => {
  const house = await createTempFolder(t);
  for (const name of ['node_modules', 'oxlint.config.ts']) {
    await symlink(join(ROOT, name), join(house, name));
  }
  const importers = Object.keys(ROOMS).map((room) =>
    isFile(room) ? pathOf(room) : `${pathOf(room)}/_.ts`,
  );
  importers.push(...Object.values(DOORS).flat().filter(isFile));
  const shut = new Set<string>();
  const namesAt = new Map<string, string>();
  for (const file of new Set(importers)) {
    const sources = new Set([...Object.keys(DOORS), ...Object.keys(ROOMS).flatMap(filesOf)]);
    const lines = [...sources].map((source, at) => {
      const name = `${file} > ${source}`;
      namesAt.set(`${file}:${at + 1}`, name);
      if (!isAllowed(file, source)) shut.add(name);
      const path = posix.relative(dirname(file), source);
      return `import '${source in DOORS ? source : path.startsWith('.') ? path : `./${path}`}';\n`;
    });
    await mkdir(dirname(join(house, file)), { recursive: true });
    await writeFile(join(house, file), lines.join(''));
  }
  const refused = new Set(refusedBy(house).map((at) => namesAt.get(at) ?? at));
  t.deepEqual([...shut.difference(refused)], []);
  t.deepEqual([...refused.difference(shut)], []);
});

/** What the table of rooms would be by the imports that there are. */
function roomsByImports(): Record<string, Room> {
  const uses = FILES.flatMap((file) =>
    (IMPORTS.get(file) ?? [])
      .filter((other) => TEXTS.has(other))
      .map((other) => ({ file, other, ...crossing(file, other) })),
  );
  const rooms = Object.entries(ROOMS).map(([room, { facade }]) => {
    const imports = new Set(uses.filter(({ from }) => from === room).map(({ to }) => to));
    const seen = (isByHead: boolean): string[] => {
      const used = uses.filter((use) => use.to === room && use.isByHead === isByHead);
      return [...new Set(used.map(({ other }) => posix.relative(pathOf(room), other)))].toSorted();
    };
    const parts = seen(true).filter((file) => !seen(false).includes(file));
    return [
      room,
      {
        imports: Object.keys(ROOMS).filter((other) => imports.has(other)),
        ...(facade && { facade: seen(false) }),
        ...(facade && parts.length > 0 && { parts }),
      },
    ] as const;
  });
  return Object.fromEntries(rooms);
}

/** Between which rooms an import goes, and whether it comes from who puts the other one together. */
function crossing(file: string, other: string): { from?: string; to?: string; isByHead?: boolean } {
  const [from, to] = [roomOf(file), roomOf(other)];
  const outer = outerOf(from);
  if (outer !== outerOf(to))
    return { from: outer, to: outerOf(to), isByHead: HEADS.includes(from) };
  if (from === to || to === outer) return {};
  return from === outer ? { to, isByHead: true } : { from, to, isByHead: false };
}

function importsOf(file: string): string[] {
  const text = TEXTS.get(file)!;
  const found = text.matchAll(/\b(?:from|import|import\()\s*'(?<source>[^']+)'/g);
  return [...found].flatMap(({ groups }) => {
    const source = groups!['source']!;
    if (source.startsWith('.')) return [posix.join(dirname(file), source)];
    if (source.startsWith('node:')) return [];
    return [source.split('/', source.startsWith('@') ? 2 : 1).join('/')];
  });
}

function isIn(file: string, door: string): boolean {
  return file === door || file.startsWith(`${door}/`);
}

/** What an import could name in a room: what is seen of it, and what is not. */
function filesOf(room: string): string[] {
  if (isFile(room)) return [pathOf(room)];
  const { facade = [], parts = [] } = ROOMS[room]!;
  return [...facade, ...parts, 'hidden.ts'].map((file) => `${pathOf(room)}/${file}`);
}

function isAllowed(file: string, source: string): boolean {
  const doors = DOORS[source];
  if (doors) return doors.some((door) => isIn(file, door));
  const [room, other] = [roomOf(file), roomOf(source)];
  // Of another room within a room is seen what the outer one shows.
  const shown = outerOf(room) === outerOf(other) ? other : outerOf(other);
  const seen = seenFrom(room, shown);
  return seen === 'all' || seen.includes(posix.relative(pathOf(shown), source));
}

/** `file:line` of each import that the linter refuses. */
function refusedBy(house: string): string[] {
  const oxlint = join(ROOT, 'node_modules', '.bin', 'oxlint');
  const { stdout } = spawnSync(process.execPath, [oxlint, '--format', 'json'], {
    cwd: house,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: { code: string; filename: string; labels: { span: { line: number } }[] }[];
  };
  return diagnostics
    .filter(({ code }) => code === 'eslint(no-restricted-imports)')
    .map(({ filename, labels }) => `${filename}:${labels[0]!.span.line}`);
}
