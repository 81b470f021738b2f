import type { Socket } from 'node:net';

const bodies = new WeakMap<Socket, ExpectedBody>();
let read: Socket | undefined;

/**
 * What is still to come of the body that a socket brings, by its `Content-Length`: a read of no more than that
 * holds bytes of this body alone. Of these undici keeps no view when it has handed them on; of the bytes of
 * headers it does until the last header has come, with whatever read that is.
 */
export class ExpectedBody {
  #left = 0;

  /** Calls what has undici read and take the bytes that this socket has. */
  static reading(socket: Socket, take: () => void): void {
    read = socket;
    try {
      take();
    } finally {
      read = undefined;
    }
  }

  static leftOn(socket: Socket): number {
    const body = bodies.get(socket);
    return body ? body.#left : 0;
  }

  /** Of the answer of which the socket that is read has just brought the last header. */
  constructor(contentLength: unknown) {
    if (read && typeof contentLength === 'string' && /^\d+$/.test(contentLength)) {
      this.#left = Number(contentLength);
      bodies.set(read, this);
    }
  }

  came(bytes: number): void {
    this.#left -= bytes;
  }

  /** What comes next on the socket is another answer, also where this one had no body. */
  end(): void {
    this.#left = 0;
  }
}
