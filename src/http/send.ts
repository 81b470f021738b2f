import type { ServerResponse } from 'node:http';
import type { Reader } from '../oci/content.ts';
import type { BufferPool } from './buffer-pool.ts';

/** The client closed the connection before the end of its answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

export interface SendOptions {
  /** The bytes of the whole content. */
  readonly size: number;
  readonly buffers: BufferPool;
  /** Told of the bytes that are flushed. */
  readonly onSent: (bytes: number) => void;
}

/**
 * Sends what the reader gives at the pace of the client: the next chunk is read when the kernel has
 * taken the one before, whose buffer keeps the client busy meanwhile. So a client that stops holds
 * one chunk. Rejects with `ClientGoneError`, or with the reader's fault; then the response must not
 * be completed.
 */
export async function send(
  response: ServerResponse,
  reader: Reader,
  { size, buffers, onSent }: SendOptions,
): Promise<void> {
  using client = new Client(response);
  for (let isDone = false; !isDone;) {
    // What waits for its upstream holds no buffer.
    if (reader.ready) await client.stays(reader.ready());
    let scratch: Buffer | undefined = buffers.take(size);
    let isIdle = false;
    try {
      const bytes = await client.stays(reader.read(scratch));
      isDone = bytes.length === 0;
      if (bytes.buffer !== scratch.buffer) {
        // Memory that others read too: a client that stops holds no buffer of its own.
        buffers.give(scratch, true);
        scratch = undefined;
      }
      if (!isDone) await client.stays(write(response, bytes, onSent));
      isIdle = true;
    } finally {
      if (scratch) buffers.give(scratch, isIdle);
    }
  }
}

function write(
  response: ServerResponse,
  chunk: Buffer,
  onSent: (bytes: number) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // A failed write also closes the response, and that is what the sender waits for.
  promise.catch(() => undefined);
  response.write(chunk, (error) => {
    if (error) return reject(new ClientGoneError());
    onSent(chunk.length);
    resolve();
  });
  return promise;
}

/** The other end of a response, watched by one listener however many chunks it takes. */
class Client implements Disposable {
  readonly #response: ServerResponse;
  readonly #onClose = (): void => this.#leave();
  #isGone: boolean;
  #abandon: ((error: Error) => void) | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#isGone = response.destroyed;
    response.once('close', this.#onClose);
  }

  /** Settles as the promise does, or rejects when the client goes first. */
  async stays<Value>(promise: Promise<Value>): Promise<Value> {
    if (this.#isGone) {
      promise.catch(() => undefined);
      throw new ClientGoneError();
    }
    return new Promise((resolve, reject) => {
      this.#abandon = reject;
      promise.then(resolve, reject);
    });
  }

  [Symbol.dispose](): void {
    this.#response.off('close', this.#onClose);
  }

  #leave(): void {
    this.#isGone = true;
    this.#abandon?.(new ClientGoneError());
  }
}
