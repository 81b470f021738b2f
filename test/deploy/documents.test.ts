/** What the documents tell to type is typed, line by line, and does what they say. */
import { globSync, readFileSync } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { copyCommitted } from '../helpers/checkout.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingPackages, missingRights, testUnless } from '../helpers/needs.ts';
import { readBlocks, type Block } from './document.ts';
import { startEngines } from './engines.ts';
import { Reader } from './reader.ts';

const PROJECT = join(import.meta.dirname, '..', '..');

/** Why a page, or some of its blocks by their first line, are not typed here. */
const LEFT_OUT: Readonly<Record<string, string | Readonly<Record<string, string>>>> = {
  'CONTRIBUTING.md': { 'npm ci': 'the checks of this project, of which this is one' },
  'docs/admission.md': 'test/clients/admission-page.test.ts types it, beside cosign',
  'docs/commands.md': 'the examples of the help, of images and files that are nowhere',
  'docs/operations.md': {
    'mkdir -p "$BACKUP" && rm -rf "$BACKUP/catalog"': 'operations.test.ts types it',
    [String.raw`cd "$BACKUP/blobs/sha256" && find . -type f -printf '%f  %p\n' | sha256sum --check --quiet && cd "$OLDPWD"`]:
      'operations.test.ts types it',
    'mkdir -p "$STORE"': 'operations.test.ts types it, while no server has the store',
  },
};

/** The page that is typed beside container engines. */
const WITH_ENGINES = 'docs/access.md';

const DOCUMENTS = globSync(
  '{README,CONTRIBUTING,SECURITY,CHANGELOG,docs/**/*,deploy/**/*,grafana/**/*}.md',
  { cwd: PROJECT },
).toSorted();
const PAGES = DOCUMENTS.map((path) => ({ path, blocks: readBlocks(join(PROJECT, path)) })).filter(
  ({ blocks }) => blocks.length > 0,
);

const obstacle =
  missingPackages('unshare', 'nsenter', 'ip', 'openssl') ??
  missingPackages('docker', 'dockerd', 'podman', 'containerd', 'ctr') ??
  missingRights();
const run = testUnless('documents', obstacle).serial;

run('the README, typed by somebody who has Node, npm and git alone', async (t) => {
  const folder = await createTempFolder(t);
  await copyCommitted(folder);
  const reader = await startReader(t, { folder, programs: ['node', 'npm', 'git'] });
  if (!(await reader.read('README.md'))) return;
  await t.notThrowsAsync(reader.interruptServer());
  t.notRegex(await reader.serverLog(), /"level":"(?:warn|error)"/);
  t.regex((await reader.requests()).join('\n'), /^GET https:\/\/registry-1\.docker\.io\/v2\//m);
});

for (const { path, blocks } of PAGES) {
  if (path === 'README.md' || blocks.every((block) => isLeftOut(path, block))) continue;
  run(`${path}, typed beside a running server`, async (t) => {
    const folder = await createTempFolder(t);
    await copyCommitted(folder);
    await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
    const reader = await startReader(t, { folder });
    await reader.type('npm start');
    if (path === WITH_ENGINES) await startEngines(reader);
    await reader.type('entrepot() { npm run --silent entrepot -- "$@"; }');
    await reader.read(path, (block) => !isLeftOut(path, block));
  });
}

test('each page and block that is left out is there', (t) => {
  for (const [path, left] of Object.entries(LEFT_OUT)) {
    const lines = PAGES.find((page) => page.path === path)?.blocks.map(firstLine);
    t.truthy(lines, path);
    if (typeof left === 'string') continue;
    for (const line of Object.keys(left)) t.true(lines?.includes(line), `${path}: ${line}`);
  }
});

test('each block of shell lines is a fence of `sh` with a line in it, and stands at the margin', (t) => {
  for (const path of DOCUMENTS) {
    const fences = readFileSync(join(PROJECT, path), 'utf8').match(
      /^.*```(?:sh|bash|shell|zsh)\b/gm,
    );
    const blocks = readBlocks(join(PROJECT, path)).filter(({ commands }) => commands.length > 0);
    t.is(fences?.length ?? 0, blocks.length, path);
  }
});

async function startReader(
  t: ExecutionContext,
  machine: Parameters<typeof Reader.start>[1],
): Promise<Reader> {
  const reader = await Reader.start(t, machine);
  t.teardown(async () => {
    if (!t.passed) t.log(await reader.serverLog(), await reader.requests());
  });
  return reader;
}

function isLeftOut(path: string, block: Block): boolean {
  const left = LEFT_OUT[path] ?? {};
  return typeof left === 'string' || left[firstLine(block)] !== undefined;
}

function firstLine({ commands }: Block): string {
  return commands[0]!.text.split('\n', 1)[0]!;
}
