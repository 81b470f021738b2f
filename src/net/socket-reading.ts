import { BLOCKS } from './blocks.ts';
import type { OnReadOpts, Socket } from 'node:net';

const READ_BYTES = 256 * 1024;

/** The blocks of what each socket has that nobody took at once. */
const kept = new WeakMap<Socket, Buffer[]>();

/**
 * How sockets without TLS are read: all into this one buffer, at most so many bytes at a time. Whoever
 * listens to the socket has them before the next read, and copies what it keeps; what it does not take at
 * once is copied for it.
 */
export const SOCKET_READING: OnReadOpts = {
  buffer: Buffer.allocUnsafeSlow(READ_BYTES),
  callback(this: unknown, count: number, buffer: Uint8Array): boolean {
    const socket = this as Socket;
    const bytes = buffer.subarray(0, count);
    // It waits behind what is not taken yet.
    if (socket.readableLength > 0) return socket.push(keep(socket, bytes));
    free(socket);
    socket.push(bytes);
    socket.emit('readable');
    if (socket.readableLength > 0) {
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
