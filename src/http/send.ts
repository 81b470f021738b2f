import type { ServerResponse } from 'node:http';
import type { Reader } from '../oci/content.ts';
import type { BufferPool } from './buffer-pool.ts';
import { TEXTS } from './texts.ts';

/** The client closed the connection before the end of its answer. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

/**
 * How long a client is kept waiting for the next bytes once it has its headers: for a turn at the
 * upstream, for the upstream itself, for a disk. containerd gives a pull up after five minutes without
 * progress (`image_pull_progress_timeout`), docker and podman never: whoever is cut off then goes on by
 * `Range` or asks again, and what nobody waits for takes neither a connection nor a turn.
 */
const PATIENCE_MS = 5 * 60_000;

export interface SendOptions {
  /** The bytes of the whole content. */
  readonly size: number;
  readonly buffers: BufferPool;
  /** Told of the bytes that are flushed. */
  readonly onSent: (bytes: number) => void;
}

/**
 * Sends what the reader gives at the pace of the client: the next chunk of many clients is read when
 * the kernel has taken the one before, so that one that stops holds one chunk. Of few, and where the
 * bytes are there, it is read meanwhile. Rejects with `ClientGoneError`, with the reader's fault, or when
 * nothing comes for longer than clients wait; then the response must not be completed.
 */
export async function send(
  response: ServerResponse,
  reader: Reader,
  { size, buffers, onSent }: SendOptions,
): Promise<void> {
  using client = new Client(response);
  using held = new HeldBuffers(buffers);
  let writing = Promise.resolve();
  for (;;) {
    if (reader.ready || !buffers.isRoomy) await client.stays(writing);
    // What waits for its upstream holds no buffer.
    if (reader.ready) await client.waits(reader.ready());
    // Memory that is lent to a client is not used again: few clients cost less with a copy each.
    const shared = buffers.isRoomy ? undefined : reader.shared?.();
    if (shared) {
      writing = write(response, shared, onSent);
      continue;
    }
    const scratch = held.take(size);
    const bytes = await client.waits(reader.read(scratch)).catch(async (error: unknown) => {
      // What was read before the fault was right: the client resumes behind it.
      await client.stays(writing);
      throw error;
    });
    const isDone = bytes.length === 0;
    // Memory that others read too: a client that stops holds no buffer of its own.
    if (isDone || bytes.buffer !== scratch.buffer) held.give(scratch);
    await client.stays(writing);
    if (isDone) return;
    writing = write(response, bytes, (sent) => {
      held.give(scratch);
      onSent(sent);
    });
  }
}

/** The buffers of one answer; in the end, those that a read or a write may still touch are given up. */
class HeldBuffers implements Disposable {
  readonly #pool: BufferPool;
  readonly #busy = new Set<Buffer>();

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  take(size: number): Buffer {
    const buffer = this.#pool.take(size);
    this.#busy.add(buffer);
    return buffer;
  }

  give(buffer: Buffer): void {
    if (this.#busy.delete(buffer)) this.#pool.give(buffer, true);
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#busy) this.#pool.give(buffer, false);
    this.#busy.clear();
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

/** The other end of a response, watched by one listener and one timer however many chunks it takes. */
class Client implements Disposable {
  readonly #response: ServerResponse;
  readonly #onClose = (): void => this.#leave(new ClientGoneError());
  readonly #timer = setTimeout(() => this.#tire(), PATIENCE_MS).unref();
  #isWaiting = false;
  #isGone: boolean;
  #abandon: ((error: Error) => void) | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#isGone = response.destroyed;
    response.once('close', this.#onClose);
  }

  /** As `stays`, and rejects when it takes longer than clients wait. */
  async waits<Value>(promise: Promise<Value>): Promise<Value> {
    this.#timer.refresh();
    return this.stays(promise, true);
  }

  /** Settles as the promise does, or rejects when the client goes first. */
  async stays<Value>(promise: Promise<Value>, isWaiting = false): Promise<Value> {
    this.#isWaiting = isWaiting;
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
    clearTimeout(this.#timer);
    this.#response.off('close', this.#onClose);
  }

  #tire(): void {
    if (this.#isWaiting) this.#leave(new Error(TEXTS.noBytesWithin({ ms: PATIENCE_MS })));
  }

  #leave(why: Error): void {
    this.#isGone = true;
    this.#abandon?.(why);
  }
}
