import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import { configJsonSchema } from '../../src/config/schema.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import packageJson from '../../package.json' with { type: 'json' };

const ROOT = join(import.meta.dirname, '..', '..');
const DOCUMENTS = globSync(
  ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/**/*.md'],
  { cwd: ROOT },
).toSorted();
const LONGEST_README = 250;
const FOLDERS = ['src', 'sync', 'test', 'deploy', 'grafana', '.ci'];
/** `sync` has files alone, and names of the API without an ending. */
const PATHS = /(?<![\w/.-])(?:(?:src|test|deploy|grafana|\.ci)\/[\w./-]*\w|sync\/[\w-]+\.ts)/g;
const NAMES = new Set([
  ...readdirSync(ROOT),
  ...globSync(`{${FOLDERS.join(',')}}/**`, { cwd: ROOT }).map((path) => basename(path)),
]);
/** Of every command, by its words, what it says for `--help`. */
const HELP = new Map(
  read('test/golden/help.txt')
    .split(/^\$ entrepot /m)
    .map((text) => [text.slice(0, text.indexOf('--help')).trim(), text]),
);

/** The keys of the configuration, each as the last two names of its path: `tls.ca`. */
const KEYS = new Set(keysBelow(configJsonSchema()));
const MAPS = new Set([...KEYS].map((key) => key.split('.')[0]));
const METRICS = new Metrics().labels;

for (const document of DOCUMENTS) {
  const text = read(document);
  /** What stands in back quotes or in a block of shell lines. */
  const code = [
    ...[...text.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span),
    ...[...text.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block = '']) => block.split('\n')),
  ].map((line) => line.replace(/ +#.*/, ''));

  test(`the files and folders that ${document} names are there`, (t) => {
    const paths = text.match(PATHS) ?? [];
    t.deepEqual(
      paths.filter((path) => !existsSync(join(ROOT, path))),
      [],
    );
    const names = code.filter((span) => /^[\w.-]+\.(ts|js|md)$/.test(span));
    t.deepEqual(
      names.filter((name) => !NAMES.has(name)),
      [],
    );
  });

  test(`the links of ${document} lead somewhere`, (t) => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link = '']) => link);
    const dead = links.filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
    });
    t.deepEqual(dead, []);
  });

  test(`the keys and metrics that ${document} names are there`, (t) => {
    const paths = code.flatMap((span) => /^[a-z]\w*(?:\.[a-z]\w*)+(?=$|:)/i.exec(span)?.[0] ?? []);
    // The page on Kubernetes names values of the chart, which are called alike.
    const isOfChart = document === 'docs/kubernetes.md';
    const keys = isOfChart
      ? []
      : paths.filter((path) => MAPS.has(path.split('.')[0]) && !NAMES.has(path));
    t.deepEqual(
      keys.filter((path) => !KEYS.has(path.split('.').slice(-2).join('.'))),
      [],
    );
    const metrics = code.flatMap((span) => /^entrepot_\w+$/.exec(span)?.[0] ?? []);
    t.deepEqual(
      metrics.filter((name) => !METRICS.has(name.replace(/_(?:bucket|sum|count)$/, ''))),
      [],
    );
  });

  test(`the npm scripts and programs that ${document} names are there`, (t) => {
    const named = code.flatMap((line) => [
      ...[...line.matchAll(/\bnpm (?:run )?(?:--silent )?([\w:]+)/g)].map(([, name = '']) => name),
      ...(/^test:\w+$/.test(line) ? [line] : []),
    ]);
    const scripts = ['ci', 'install', 'pack', ...Object.keys(packageJson.scripts)];
    t.deepEqual(
      named.filter((name) => !scripts.includes(name)),
      [],
    );
    const programs = code
      .flatMap((line) => /\bnpx (\w+)/.exec(line)?.[1] ?? [])
      .filter((name) => !Object.hasOwn(packageJson.bin, name));
    t.deepEqual(
      programs.filter((name) => !existsSync(join(ROOT, 'node_modules', '.bin', name))),
      [],
    );
  });

  test(`the commands that ${document} names are there, with their options`, (t) => {
    const commands = [...HELP.keys()].filter((words) => /^[a-z]+$/.test(words));
    const bare = new RegExp(`^(?:${commands.join('|')}) [a-z-]`);
    const lines = code.flatMap((line) => {
      const [, told] = /\bentrepot (?:-- )?([a-z].*)/.exec(line) ?? [];
      return told ?? (bare.test(line) ? line : []);
    });
    t.deepEqual(
      lines.filter((line) => !isCommand(line)),
      [],
    );
  });
}

test('the README is short, and every page of docs stands in its index', (t) => {
  t.true(read('README.md').split('\n').length <= LONGEST_README);
  const index = read('docs/README.md');
  const pages = DOCUMENTS.filter((path) => /^docs\/(?!README)/.test(path)).map((path) =>
    basename(path),
  );
  t.deepEqual(
    pages.filter((page) => !index.includes(`](${page})`)),
    [],
  );
});

test('what the answers in CONTRIBUTING.md name stands in the files that they name', (t) => {
  const [, answers = ''] =
    /## Questions and answers\n(.*?)\n## /s.exec(read('CONTRIBUTING.md')) ?? [];
  const found = answers.split('\n\n').flatMap((answer) => {
    const spans = [...answer.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span);
    const texts = spans.filter((span) => /\/.*\.ts$/.test(span)).map(read);
    return spans
      .filter((span) => /^[A-Za-z]+(\.[a-z]+)?$/.test(span) && !NAMES.has(span))
      .flatMap((span) => span.split('.'))
      .map((name) => [name, texts.some((text) => new RegExp(`\\b${name}\\b`).test(text))] as const);
  });
  t.true(found.length > 0);
  t.deepEqual(
    found.filter(([, isThere]) => !isThere),
    [],
  );
});

test('the layout in CONTRIBUTING.md is the tree of folders', (t) => {
  const [, block = ''] = /## Layout\n\n```\n(.*?)```/s.exec(read('CONTRIBUTING.md')) ?? [];
  const way: string[] = [];
  const told = block.split('\n').flatMap((line) => {
    const [, indent = '', name] = /^( *)([\w.]+\/?) *(?: {2}.*)?$/.exec(line) ?? [];
    if (name === undefined || indent.length > way.length * 2) return [];
    way.splice(indent.length / 2, way.length, name);
    return [way.join('')];
  });
  t.deepEqual(
    told.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
  const folders = globSync('src/**', { cwd: ROOT, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `${join(entry.parentPath, entry.name).slice(ROOT.length + 1)}/`);
  t.deepEqual(
    folders.filter((folder) => !told.includes(folder)),
    [],
  );
});

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

function keysBelow(node: object, above = ''): string[] {
  return Object.entries(node).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value !== 'object' || value === null) return [];
    if (name !== 'properties') return keysBelow(value, above);
    return Object.entries(value as Record<string, object>).flatMap(([key, inner]) => [
      `${above}.${key}`,
      ...keysBelow(inner, key),
    ]);
  });
}

/** Of the headings, as the forges make them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );
}

function isCommand(line: string): boolean {
  const words = /^[a-z]+(?: [a-z]+)*/.exec(line)?.[0].split(' ') ?? [];
  const help = HELP.get(words.slice(0, 2).join(' ')) ?? HELP.get(words[0] ?? '');
  if (help === undefined) return false;
  // Of a command with commands below it the second word is one of them.
  if (/\[command\]/.test(help) && words.length > 1) return false;
  const options = line.match(/(?<= |\[)--?[a-z][\w-]*/g) ?? [];
  return options.every((option) => new RegExp(`^ +.*${option}\\b`, 'm').test(help));
}
