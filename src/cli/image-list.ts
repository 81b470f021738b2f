import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from './usage-error.ts';

/** The images of a file, one a line; what follows a `#` is a comment. Throws `UsageError`. */
export function readImageList(file: string, cwd: string): readonly string[] {
  return readText(resolve(cwd, file))
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new UsageError(`the list of images cannot be read: ${message}`);
  }
}
