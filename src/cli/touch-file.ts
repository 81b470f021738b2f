import { UsageError } from './command-context.ts';

/** Tells what the system says against a file as a `UsageError`, in the words of `tell`. */
export function touchFile<T>(
  act: () => T,
  path: string,
  tell: (parts: { path: string; reason: string }) => string,
): T {
  try {
    return act();
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const reason = (message.split(', ')[0] ?? message).replace(`${code}: `, '');
    throw new UsageError(tell({ path, reason }), { cause: error });
  }
}
