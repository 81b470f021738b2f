import { lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FOLDER_MODE, readOwn } from '../own-file.ts';
import { TEXTS } from '../texts.ts';

const MANIFEST = /^MANIFEST-\d+\n$/;

/**
 * Makes the database's folder, or throws an error that counts as damage when what stands there is
 * none: LevelDB follows links and believes `CURRENT` whatever it names. An empty `CURRENT` is
 * LevelDB's own to tell of.
 */
export async function examineFiles(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) {
    await mkdir(path, { recursive: true, mode: FOLDER_MODE });
    return;
  }
  if (!found.isDirectory()) throw damaged(path);
  const entries = await readdir(path, { withFileTypes: true });
  const foreign = entries.find((entry) => !entry.isFile());
  if (foreign) throw damaged(join(path, foreign.name));
  const current = await readOwn(join(path, 'CURRENT'), 100);
  if (current && !MANIFEST.test(current)) throw damaged(join(path, 'CURRENT'));
}

function damaged(path: string): Error {
  return new Error(TEXTS.foreign({ path }));
}
