import type { Digest } from './digest.ts';
import { TEXTS } from './texts.ts';

/**
 * Bytes do not match their digest or length. They are not kept, and no answer with them is
 * completed.
 */
export class IntegrityError extends Error {
  override readonly name = 'IntegrityError';
  readonly expected: string;
  readonly actual: string;

  constructor(digest: Digest, difference: { expected: string; actual: string }) {
    super(TEXTS.mismatch({ digest, ...difference }));
    this.expected = difference.expected;
    this.actual = difference.actual;
  }
}
