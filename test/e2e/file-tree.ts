import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join } from 'node:path';

/**
 * Every path below `root`, one line each, in order: what it is, mode, owner, and what it holds.
 * Two trees are equal when a container could not tell them apart.
 */
export async function describeFiles(root: string): Promise<string[]> {
  const paths = await readdir(root, { recursive: true });
  const firstNames = new Map<number, string>();
  const lines: string[] = [];
  for (const path of paths.toSorted()) {
    const full = join(root, path);
    const stats = await lstat(full);
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    const first = firstNames.get(stats.ino) ?? path;
    firstNames.set(stats.ino, first);
    const holds = first === path ? await describeContent(full, stats) : `same file as ${first}`;
    lines.push(`${path} ${mode} ${stats.uid}:${stats.gid} ${holds}`);
  }
  return lines;
}

async function describeContent(path: string, stats: Stats): Promise<string> {
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return `-> ${await readlink(path)}`;
  if (stats.isFIFO()) return 'pipe';
  if (stats.isCharacterDevice()) return `device ${stats.rdev}`;
  const hash = createHash('sha256').update(await readFile(path));
  return `${stats.size} bytes of ${Math.floor(stats.mtimeMs / 1000)} sha256:${hash.digest('hex')}`;
}
