import { chmod, lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { getuid } from 'node:process';
import { FILE_MODE, FOLDER_MODE } from './own-file.ts';

/** What the store keeps beside each other; its path may hold other things too. */
const OWN =
  /^(?:blobs|ingest|quarantine|catalog(?:\..+)?|journal(?:\.new)?|format|sync\.json(?:\.new)?)$/;
const FILES_AT_ONCE = 16;

/**
 * Takes what lies in a store from all users of the machine but its own: an earlier version left it to
 * the process's mask. The files are gone through when one of the folders was open; what is none of
 * ours is left alone, and what belongs to another user stays as it is.
 */
export async function tighten(path: string): Promise<void> {
  const names = await readdir(path).catch((): string[] => []);
  const own = names.filter((name) => OWN.test(name));
  if (own.length === 0) return;
  await tightenRoot(path);
  // `format` is closed by whoever writes it, at the end: until then an opening goes through all again.
  const isOpen = await Promise.all(own.map(async (name) => isOpenToOthers(join(path, name))));
  if (!isOpen.includes(true)) return;
  await tightenBelow(own.filter((name) => name !== 'format').map((name) => join(path, name)));
}

/** Its path may be a mount that is not ours, or a folder that all use. */
async function tightenRoot(path: string): Promise<void> {
  const { mode, uid } = await stat(path);
  const isSticky = (mode & 0o1000) !== 0;
  if (isSticky || uid !== getuid?.() || (mode & 0o777) === FOLDER_MODE) return;
  await chmod(path, FOLDER_MODE).catch(() => undefined);
}

async function isOpenToOthers(path: string): Promise<boolean> {
  const found = await lstat(path);
  return (found.mode & 0o077) !== 0 && !found.isSymbolicLink();
}

/** From the top on, so that nobody can change what is about to be looked at. */
export async function tightenBelow(paths: readonly string[]): Promise<void> {
  for (let start = 0; start < paths.length; start += FILES_AT_ONCE) {
    const group = paths.slice(start, start + FILES_AT_ONCE);
    const below = await Promise.all(group.map(async (path) => tightenOne(path)));
    for (const names of below) await tightenBelow(names);
  }
}

/** Resolves with what is in it. */
async function tightenOne(path: string): Promise<string[]> {
  const found = await lstat(path);
  const { mode, nlink } = found;
  const isFolder = found.isDirectory();
  // A file with a second name is somebody else's too.
  if (!isFolder && (!found.isFile() || nlink > 1)) return [];
  const wanted = isFolder ? FOLDER_MODE : FILE_MODE;
  // By its name: to open and close the file of a lock that this process holds would give the lock up.
  if ((mode & 0o777) !== wanted) await chmod(path, wanted).catch(() => undefined);
  return isFolder ? (await readdir(path)).map((name) => join(path, name)) : [];
}
