import type { ServerResponse } from 'node:http';
import type { Reader } from '../oci/content.ts';
import type { BufferPair } from './buffer-pool.ts';

/** The client went away before the end of its answer. Nobody's fault, and nobody waits. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError';
}

/**
 * Sends what the reader gives, one buffer being read while the other is written, at the pace of the
 * client. Resolves with the bytes sent when the last write is flushed. Rejects with
 * `ClientGoneError`, or with the reader's fault; then the response must not be completed.
 */
export async function send(
  response: ServerResponse,
  reader: Reader,
  buffers: BufferPair,
): Promise<number> {
  const gone = watchClient(response);
  let sent = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for (let turn = 0; ; turn += 1) {
      const buffer = buffers[turn % 2 === 0 ? 0 : 1];
      const bytes = await Promise.race([reader.read(buffer), gone.promise]).catch(
        async (error: unknown) => {
          // What was read before the fault was right: the client resumes behind it.
          await Promise.race([writing, gone.promise]);
          throw error;
        },
      );
      await Promise.race([writing, gone.promise]);
      if (bytes.length === 0) return sent;
      writing = write(response, bytes);
      sent += bytes.length;
    }
  } finally {
    gone.unwatch();
  }
}

function write(response: ServerResponse, chunk: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Its failure is also the response's closing, which is what the sender waits for.
  promise.catch(() => undefined);
  response.write(chunk, (error) => (error ? reject(new ClientGoneError()) : resolve()));
  return promise;
}

function watchClient(response: ServerResponse): { promise: Promise<never>; unwatch: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  const onClose = (): void => reject(new ClientGoneError());
  if (response.destroyed) onClose();
  response.once('close', onClose);
  return { promise, unwatch: () => response.off('close', onClose) };
}
