import { constants, type Stats } from 'node:fs';
import { lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { TEXTS } from './texts.ts';

/** Of files; folders have the bits to enter them too. Nobody but the store's own user reads either. */
export const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const FLAGS = {
  read: O_RDONLY,
  /** Made when it is missing. */
  update: O_RDWR | O_CREAT,
  /** Whatever stood there gives way. */
  replace: O_RDWR | O_CREAT | O_EXCL,
} as const;

/** Below the store's path stands something that the store did not put there: it is left alone. */
export class ForeignFileError extends Error {
  override readonly name = 'ForeignFileError';
  readonly code = 'EFOREIGN';
  /** As errors of the disk have it: the store failed, not the upstream. */
  readonly syscall = 'open';

  constructor(path: string, options?: ErrorOptions) {
    super(TEXTS.foreign({ path }), options);
  }
}

/**
 * Opens a file of the store. Throws `ForeignFileError` for a link, a device, a folder, and to write
 * also for a file that has a second name: what is written here would change what stands there.
 */
export async function openOwn(path: string, how: keyof typeof FLAGS): Promise<FileHandle> {
  if (how === 'replace') await rm(path, { force: true });
  const handle = await open(path, FLAGS[how] | O_NOFOLLOW | O_NONBLOCK, FILE_MODE).catch(
    (cause: NodeJS.ErrnoException) => {
      if (FOREIGN.has(cause.code ?? '')) throw new ForeignFileError(path, { cause });
      throw cause;
    },
  );
  try {
    const found = await handle.stat();
    const { mode, nlink } = found;
    if (!found.isFile()) throw new ForeignFileError(path);
    if (how !== 'read' && nlink > 1) throw new ForeignFileError(path);
    // The process's mask may have taken more than it should.
    if (how !== 'read' && (mode & 0o777) !== FILE_MODE) await handle.chmod(FILE_MODE);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A link, a socket or a folder, by the errors of opening one. */
const FOREIGN: ReadonlySet<string> = new Set(['ELOOP', 'ENXIO', 'ENODEV', 'EISDIR']);

/** The first bytes of a small file, as text; `undefined` when there is none, or it is foreign. */
export async function readOwn(path: string, mostBytes: number): Promise<string | undefined> {
  try {
    await using file = await openOwn(path, 'read');
    const bytes = Buffer.alloc(Math.min(mostBytes, (await file.stat()).size));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.toString('utf8', 0, bytesRead);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EFOREIGN') return undefined;
    throw error;
  }
}

/** Writes a whole file in the place of whatever stands there; after a crash it is the old or the new one. */
export async function writeOwn(
  path: string,
  data: string | Uint8Array,
  { isSynced = true }: { isSynced?: boolean } = {},
): Promise<void> {
  const fresh = `${path}.new`;
  {
    await using file = await openOwn(fresh, 'replace');
    await file.writeFile(data);
    if (isSynced) await file.sync();
  }
  await rename(fresh, path);
}

/** What stands there, be it a link; `undefined` when nothing does. */
export async function look(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
}

/** Whether a folder stands there, and no link to one. */
export async function isOwnFolder(path: string): Promise<boolean> {
  return (await look(path))?.isDirectory() === true;
}

/** So that the names in it outlive a power loss. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}
