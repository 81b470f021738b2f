/** The store has no room for a blob, and nothing that may go would make enough. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';

  /** With a cause: making room has failed. */
  constructor(bytes: number, options: { cause?: unknown } = {}) {
    const { cause } = options;
    const reason =
      cause instanceof Error
        ? cause.message
        : 'what is held is pinned, in use, or not enough to make room';
    super(`no room for ${bytes} bytes: ${reason}`, options);
  }
}
