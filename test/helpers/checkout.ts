import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { basename, delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PROJECT = join(import.meta.dirname, '..', '..');
const UNCOMMITTED: ReadonlySet<string> = new Set(['node_modules', '.cache', 'data']);

/** The committed tree, in this folder. Without version control, as an unpacked release, all counts but what grows in it. */
export async function copyCommitted(folder: string): Promise<void> {
  if (existsSync(join(PROJECT, '.git'))) {
    const archive = 'git -c safe.directory="*" -C "$1" archive HEAD | tar -x -C "$2"';
    await run('bash', ['-o', 'pipefail', '-c', archive, 'bash', PROJECT, folder]);
    return;
  }
  const filter = (path: string): boolean => !UNCOMMITTED.has(basename(path));
  await cp(PROJECT, folder, { recursive: true, filter });
}

/** In its path neither the Node nor the programs of this project's own packages are. */
export function outsideEnvironment(): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE: _, PATH = '', ...rest } = process.env;
  const elsewhere = PATH.split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...rest, PATH: elsewhere.join(delimiter) };
}
