import { randomUUID } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { UsageError } from './command-context.ts';

type Tell = (parts: { path: string; reason: string }) => string;

/** Tells what the system says against a file as a `UsageError`, in the words of `tell`. */
export function touchFile<T>(act: () => T, path: string, tell: Tell): T {
  try {
    return act();
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const reason = (message.split(', ')[0] ?? message).replace(`${code}: `, '');
    throw new UsageError(tell({ path, reason }), { cause: error });
  }
}

/** Writes a file, which is the old one until all of the new one is on the disk. Throws as `touchFile` does. */
export function replaceFile(path: string, bytes: Uint8Array, tell: Tell): void {
  const fresh = `${path}.${randomUUID()}`;
  const replace = (): void => {
    try {
      writeFileSync(fresh, bytes, { flag: 'wx', flush: true });
      renameSync(fresh, path);
    } catch (error) {
      rmSync(fresh, { force: true });
      throw error;
    }
  };
  touchFile(replace, path, tell);
}
