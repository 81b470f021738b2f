import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SyncLock } from '../api/sync-api.ts';
import { AdminError, UsageError } from './outcome.ts';
import { TEXTS } from './texts.ts';

/** The lock of a file, its shape checked. Throws `UsageError` with the path and the remedy. */
export function readLock(file: string, cwd: string): SyncLock {
  const path = resolve(cwd, file);
  const text = touch(() => readFileSync(path, 'utf8'), path, TEXTS.lockUnreadable);
  const document = parse(text, path);
  const fault = findFault(document);
  if (fault === undefined) return document as SyncLock;
  throw new UsageError(TEXTS.lockBroken({ path, fault }));
}

/** As JSON to look through and to compare. Throws `UsageError`. */
export function writeLock(lock: SyncLock, file: string, cwd: string): void {
  const path = resolve(cwd, file);
  const text = `${JSON.stringify(lock, undefined, 2)}\n`;
  touch(() => writeFileSync(path, text), path, TEXTS.lockUnwritable);
}

/** What the server says against a lock, with the path of the lock. */
export async function withLock<T>(
  file: string | undefined,
  cwd: string,
  run: (lock: SyncLock | undefined) => Promise<T>,
): Promise<T> {
  if (file === undefined) return run(undefined);
  const lock = readLock(file, cwd);
  try {
    return await run(lock);
  } catch (error) {
    if (!(error instanceof AdminError) || (error.status !== 400 && error.status !== 413))
      throw error;
    const message = TEXTS.lockRefused({ path: resolve(cwd, file), reason: error.message });
    throw new UsageError(message, { cause: error });
  }
}

function touch<T>(act: () => T, path: string, tell: typeof TEXTS.lockUnreadable): T {
  try {
    return act();
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const reason = (message.split(', ')[0] ?? message).replace(`${code}: `, '');
    throw new UsageError(tell({ path, reason }), { cause: error });
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

/** Where it is no lock, and what should stand there. */
function findFault(document: unknown): string | undefined {
  if (!isObject(document)) return 'it is no object';
  const { version, rules, createdAt, images } = document;
  if (version !== 1)
    return `version is ${version === undefined ? 'missing' : JSON.stringify(version)}, not 1`;
  if (!isText(rules)) return 'rules is no text';
  if (!isText(createdAt)) return 'createdAt is no text';
  if (!Array.isArray(images)) return 'images is no list';
  for (const [position, image] of images.entries()) {
    const place = `images[${position}]`;
    if (!isObject(image)) return `${place} is no object`;
    const wrong = ['image', 'digest', 'rule'].find((key) => !isText(image[key]));
    if (wrong !== undefined) return `${place}.${wrong} is no text`;
    if (image['tag'] !== undefined && !isText(image['tag'])) return `${place}.tag is no text`;
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
