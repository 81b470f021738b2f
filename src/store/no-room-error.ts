/** The store has no room for a blob, and nothing that may go would make enough. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';

  constructor(bytes: number) {
    super(`no room for ${bytes} bytes: what is held is pinned, in use, or not enough to make room`);
  }
}
