import { randomUUID } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { FILE_MODE, readOwn, writeOwn } from './own-file.ts';
import { TEXTS } from './texts.ts';

/** Raised by every change of files, journal or catalog that an older program would misread. */
export const FORMAT = 2;

/**
 * Throws when a newer version wrote the store. The number stands in a file of its own: it counts for
 * files, journal and catalog together, is read before any of them is touched, and outlives a lost
 * catalog. The catalog repeats it under `schema`, where programs from before this file look for it.
 */
export async function checkFormat(path: string): Promise<void> {
  const found = await readFormat(path);
  if (found !== undefined) refuseOtherFormat(path, found);
}

/**
 * The id of the store stands on the second line; resolves with it. A disk that refuses the file gets
 * it at a later start.
 */
export async function writeFormat(path: string): Promise<string | undefined> {
  const found = await lstat(fileOf(path)).catch(() => undefined);
  const isClosed = found?.isFile() === true && (found.mode & 0o777) === FILE_MODE;
  const known = await readId(path);
  if (isClosed && known !== undefined && (await readFormat(path)) === FORMAT) return known;
  const id = known ?? randomUUID();
  return writeOwn(fileOf(path), `${FORMAT}\n${id}\n`).then(
    () => id,
    () => known,
  );
}

/** By which two stores are told apart wherever they are mounted; `undefined` where it cannot be read. */
export async function readId(path: string): Promise<string | undefined> {
  const text = await readOwn(fileOf(path), 64).catch(() => undefined);
  return /^\d+\n([0-9a-f-]{36})\n/.exec(text ?? '')?.[1];
}

export function refuseOtherFormat(path: string, found: number): void {
  if (found === FORMAT) return;
  const text = found > FORMAT ? TEXTS.newerFormat : TEXTS.olderFormat;
  const message = text({ path, found, known: FORMAT });
  throw Object.assign(new Error(message), { code: 'STORE_FORMAT' });
}

/** `undefined` when there is none, or a power loss left none of it. */
async function readFormat(path: string): Promise<number | undefined> {
  const found = Number.parseInt((await readOwn(fileOf(path), 20)) ?? '', 10);
  return Number.isNaN(found) ? undefined : found;
}

function fileOf(path: string): string {
  return join(path, 'format');
}
