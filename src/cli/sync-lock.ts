import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SyncLock } from '../api/sync-api.ts';
import { AdminError, UsageError } from './command-context.ts';
import { touchFile } from './touch-file.ts';
import { TEXTS } from './texts.ts';

/** As JSON to look through and to compare. Throws `UsageError`. */
export function writeLock(lock: SyncLock, file: string, cwd: string): void {
  const path = resolve(cwd, file);
  const text = `${JSON.stringify(lock, undefined, 2)}\n`;
  touchFile(() => writeFileSync(path, text), path, TEXTS.lockUnwritable);
}

/** Runs with what the file holds; what the server says against it is told with its path. */
export async function withLock<T>(
  file: string | undefined,
  cwd: string,
  run: (lock: unknown) => Promise<T>,
): Promise<T> {
  if (file === undefined) return run(undefined);
  const path = resolve(cwd, file);
  const lock = parse(
    touchFile(() => readFileSync(path, 'utf8'), path, TEXTS.lockUnreadable),
    path,
  );
  try {
    return await run(lock);
  } catch (error) {
    if (!(error instanceof AdminError) || (error.status !== 400 && error.status !== 413))
      throw error;
    // It is about the images that were named beside the lock.
    if (error.detail !== undefined) throw error;
    throw new UsageError(TEXTS.lockRefused({ path, reason: error.message }), { cause: error });
  }
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = (cause as SyntaxError).message;
    throw new UsageError(TEXTS.lockNotJson({ path, reason }), { cause });
  }
}
