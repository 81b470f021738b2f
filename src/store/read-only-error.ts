import { TEXTS } from './texts.ts';

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
