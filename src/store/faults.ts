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

/** Of LevelDB, and of whoever looks at its files before it does. */
const DAMAGE: ReadonlySet<string> = new Set([
  'LEVEL_CORRUPTION',
  'LEVEL_IO_ERROR',
  'LEVEL_DECODING_ERROR',
  'LEVEL_DAMAGED',
]);

/**
 * Whether an error of opening or reading the database means that its files are damaged: any but those
 * of a lock, a permission, a lack of room or a lack of anything else.
 */
export function isDamage(error: unknown): boolean {
  if (says(error, FULL) || says(error, REFUSED) || says(error, SHORT)) return false;
  const codes = codesOf(error);
  return !codes.includes('LEVEL_LOCKED') && codes.some((code) => DAMAGE.has(code));
}

function says(error: unknown, words: RegExp): boolean {
  if (!(error instanceof Error)) return false;
  const { code = '' } = error as NodeJS.ErrnoException;
  return words.test(code) || words.test(error.message) || says(error.cause, words);
}

function codesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { code } = error as NodeJS.ErrnoException;
  return [...(typeof code === 'string' ? [code] : []), ...codesOf(error.cause)];
}
