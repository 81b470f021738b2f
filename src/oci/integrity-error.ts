import type { Digest } from './digest.ts';

/** Bytes are not what their digest or length says. They are never kept and never completed. */
export class IntegrityError extends Error {
  override readonly name = 'IntegrityError';
  readonly expected: string;
  readonly actual: string;

  constructor(digest: Digest, difference: { expected: string; actual: string }) {
    super(`${digest}: expected ${difference.expected}, got ${difference.actual}`);
    this.expected = difference.expected;
    this.actual = difference.actual;
  }
}
