import type { ServerResponse } from 'node:http';
import type { Reader } from '../oci/content.ts';
import type { BufferPair } from './buffer-pool.ts';

/** The client closed the connection before the end of its answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

/**
 * Sends what the reader gives, one buffer being read while the other is written, at the pace of the
 * client; `onSent` is told of the bytes that are flushed. Rejects with `ClientGoneError`, or with
 * the reader's fault; then the response must not be completed.
 */
export async function send(
  response: ServerResponse,
  reader: Reader,
  options: { buffers: BufferPair; onSent: (bytes: number) => void },
): Promise<void> {
  const { buffers, onSent } = options;
  using client = new Client(response);
  let writing: Promise<void> = Promise.resolve();
  for (let turn = 0; ; turn += 1) {
    const scratch = buffers[turn % 2 === 0 ? 0 : 1];
    const bytes = await client.stays(reader.read(scratch)).catch(async (error: unknown) => {
      // What was read before the fault was right: the client resumes behind it.
      await client.stays(writing);
      throw error;
    });
    await client.stays(writing);
    if (bytes.length === 0) return;
    writing = write(response, bytes, onSent);
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
