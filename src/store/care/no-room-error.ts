import { TEXTS } from '../texts.ts';

/** The store has no room for a blob, and nothing that may be evicted would make enough. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';
  /** The blob is larger than one may be; the store takes others. */
  readonly isTooLarge: boolean;

  /** With a cause: making room has failed. `most`: bytes that one blob may take. */
  constructor(bytes: number, options: { cause?: unknown; most?: number } = {}) {
    const { cause, most } = options;
    const reason = cause instanceof Error ? cause.message : TEXTS.nothingToEvict;
    const text = most === undefined ? TEXTS.noRoom({ bytes, reason }) : TEXTS.tooLarge({ most });
    super(text, cause === undefined ? undefined : { cause });
    this.isTooLarge = most !== undefined;
  }
}
