import type { OnReadOpts, Socket } from 'node:net';
import { BLOCKS } from './blocks.ts';
import { ExpectedBody } from './expected-body.ts';

const READ_BYTES = 256 * 1024;

/** The blocks of what each socket has that nobody took at once. */
const kept = new WeakMap<Socket, Buffer[]>();

/**
 * How sockets without TLS are read: all into this one buffer, at most so many bytes at a time. Who listens to
 * the socket has the bytes of a body before the next read, and copies what it keeps; what it does not take at
 * once is copied for it. What may be anything else is copied first.
 */
export const SOCKET_READING: OnReadOpts = {
  buffer: Buffer.allocUnsafeSlow(READ_BYTES),
  callback(this: unknown, count: number, buffer: Uint8Array): boolean {
    const socket = this as Socket;
    const bytes = buffer.subarray(0, count);
    const isBody = count + socket.readableLength <= ExpectedBody.leftOn(socket);
    // It waits behind what is not taken yet.
    if (socket.readableLength > 0)
      return socket.push(isBody ? keep(socket, bytes) : Buffer.from(bytes));
    free(socket);
    socket.push(isBody ? bytes : Buffer.from(bytes));
    ExpectedBody.reading(socket, () => socket.emit('readable'));
    if (isBody && socket.readableLength > 0) {
      const rest = socket.read() as Buffer;
      socket.unshift(keep(socket, rest));
    }
    return true;
  },
};

function keep(socket: Socket, bytes: Uint8Array): Buffer {
  const block = BLOCKS.take();
  block.set(bytes);
  const blocks = kept.get(socket);
  if (!blocks) socket.once('close', () => free(socket));
  if (blocks) blocks.push(block);
  else kept.set(socket, [block]);
  return block.subarray(0, bytes.length);
}

/** After all of it was taken. */
function free(socket: Socket): void {
  for (const block of kept.get(socket)?.splice(0) ?? []) BLOCKS.give(block);
}
