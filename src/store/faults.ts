import { TEXTS } from './texts.ts';

/** What the disk or the database says when there is no room, in codes and in LevelDB's words. */
const FULL = /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded/;
/** The same when this process may not write, or not at all. */
const REFUSED =
  /EROFS|EACCES|EPERM|Read-only file system|Permission denied|Operation not permitted/;
/** The same when the machine lacks something else. */
const SHORT = /EMFILE|ENFILE|ENOMEM|Too many open files|Cannot allocate memory/;

/** A disk without room. */
export function isFull(error: unknown): boolean {
  return says(error, FULL);
}

/** A disk, a mount or a folder that takes no writes from this process. */
export function isRefused(error: unknown): boolean {
  return says(error, REFUSED);
}

/**
 * What else says nothing of the database's files: another process has them, a program of another
 * format wrote them, or this one has closed them already.
 */
const WHOLE: ReadonlySet<string | undefined> = new Set([
  'LEVEL_LOCKED',
  'STORE_IN_USE',
  'STORE_FORMAT',
  'LEVEL_ABORTED',
  'LEVEL_DATABASE_NOT_OPEN',
  'LEVEL_ITERATOR_NOT_OPEN',
  'LEVEL_BATCH_NOT_OPEN',
  'LEVEL_SNAPSHOT_NOT_OPEN',
]);

/**
 * Whether an error of opening or reading the database means that its files are damaged: any but those
 * of a lock, a permission, a lack of room or a lack of anything else.
 */
export function isDamage(error: unknown): boolean {
  if (says(error, FULL) || says(error, REFUSED) || says(error, SHORT)) return false;
  return !WHOLE.has((originOf(error) as NodeJS.ErrnoException | undefined)?.code);
}

/** Of a database that does not open the outermost error says no more than that. */
function originOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? originOf(error.cause) : error;
}

function says(error: unknown, words: RegExp): boolean {
  if (!(error instanceof Error)) return false;
  const { code = '' } = error as NodeJS.ErrnoException;
  return words.test(code) || words.test(error.message) || says(error.cause, words);
}

/** The store takes nothing in this run. */
export class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
  readonly code = 'EROFS';
  /** As errors of the disk have it: the store failed, not the upstream. */
  readonly syscall = 'open';

  constructor(path: string) {
    super(TEXTS.readOnly({ path }));
  }
}

/** The store has no room for a blob, and nothing that may be evicted would make enough. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';
  /** The blob is larger than one may be; the store takes others. */
  readonly isTooLarge: boolean;
  /** Of the blob, as far as it is known. */
  readonly bytes: number;

  /** With a cause: making room has failed. `most`: bytes that one blob may take. */
  constructor(bytes: number, options: { cause?: unknown; most?: number } = {}) {
    const { cause, most } = options;
    const reason = cause instanceof Error ? cause.message : TEXTS.nothingToEvict;
    const text = most === undefined ? TEXTS.noRoom({ bytes, reason }) : TEXTS.tooLarge({ most });
    super(text, cause === undefined ? undefined : { cause });
    this.isTooLarge = most !== undefined;
    this.bytes = bytes;
  }
}

/** Whether content found no room: nothing failed, and a stack of this code tells nothing. */
export function isWithoutRoom(error: unknown): boolean {
  return (error instanceof NoRoomError && error.cause === undefined) || isFull(error);
}

/** For the log: content that found no room is a matter of one line. */
export function faultOf(error: unknown): { reason: string } | { err: unknown } {
  return isWithoutRoom(error) && error instanceof Error
    ? { reason: error.message }
    : { err: error };
}

/** Told the name of each point at which a crash must lose nothing; tests end the process there. */
export type CrashPoint = (name: string) => void;

export const noCrashPoint: CrashPoint = () => undefined;

/** A command was to open a store where there is none. */
export class NoStoreError extends Error {
  override readonly name = 'NoStoreError';
  readonly code = 'STORE_ABSENT';

  constructor(path: string) {
    super(TEXTS.noStore({ path }));
  }
}
