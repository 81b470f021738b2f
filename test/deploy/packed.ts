import { execFile } from 'node:child_process';
import { cp, symlink, writeFile } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const NOT_COPIED: ReadonlySet<string> = new Set([
  '.cache',
  '.git',
  'bench-results',
  'coverage',
  'data',
  'dist',
  'node_modules',
]);

/** The file that `npm pack` makes of this tree, and what npm says is in it. */
export interface Packed {
  readonly tarball: string;
  readonly files: readonly string[];
}

/** Packs a copy of the tree in this folder: `npm pack` writes to the one that it packs. */
export async function packProject(folder: string): Promise<Packed> {
  const filter = (path: string): boolean => path === PROJECT || !NOT_COPIED.has(basename(path));
  await cp(PROJECT, folder, { recursive: true, filter });
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  const { stdout } = await run('npm', ['pack', '--json', '--silent'], { cwd: folder });
  const answer: unknown = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
  const [{ filename, files }] = Object.values(answer as object) as [
    { filename: string; files: readonly { path: string }[] },
  ];
  return { tarball: join(folder, filename), files: files.map(({ path }) => path).toSorted() };
}

/** Installs the packed file in this empty folder, with what it depends on. */
export async function installPacked(folder: string, tarball: string): Promise<void> {
  // Without one npm looks for it in the folders above.
  await writeFile(join(folder, 'package.json'), '{}');
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball];
  await run('npm', args, { cwd: folder, env: bareEnvironment() });
}

/** That of a shell in which nothing of this project is in the path, with these folders before it. */
export function bareEnvironment(...folders: readonly string[]): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE: _, NODE_OPTIONS: __, PATH = '', ...rest } = process.env;
  const elsewhere = PATH.split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...rest, PATH: [...folders, ...elsewhere].join(delimiter) };
}
