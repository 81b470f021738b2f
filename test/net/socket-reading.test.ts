import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { SOCKET_READING } from '../../src/net/socket-reading.ts';
import { buildBlob } from '../helpers/image.ts';

const SIZE = 6 * 1024 * 1024;

/** Two sockets that are sent different bytes at once and read into the same memory. */
async function openTwo(t: ExecutionContext): Promise<{ socket: Socket; bytes: Buffer }[]> {
  const bodies = [buildBlob(1, SIZE).bytes, buildBlob(2, SIZE).bytes];
  let next = 0;
  const server = createServer((peer) => peer.end(bodies[(next += 1) - 1] ?? '')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const opened: { socket: Socket; bytes: Buffer }[] = [];
  for (const bytes of bodies) {
    const socket = connect({ port, host: '127.0.0.1', onread: SOCKET_READING });
    t.teardown(() => socket.destroy());
    const accepted = once(server, 'connection');
    await Promise.all([once(socket, 'connect'), accepted]);
    opened.push({ socket, bytes });
  }
  server.close();
  return opened;
}

test('who takes all at once has it, although all sockets are read into one buffer', async (t) => {
  const opened = await openTwo(t);
  await Promise.all(
    opened.map(async ({ socket, bytes }) => {
      const chunks: Buffer[] = [];
      socket.on('readable', () => {
        for (
          let chunk = socket.read() as Buffer | null;
          chunk;
          chunk = socket.read() as Buffer | null
        )
          chunks.push(Buffer.from(chunk));
      });
      await once(socket, 'end');
      t.true(Buffer.concat(chunks).equals(bytes));
    }),
  );
});

test('who leaves bytes where they are finds them later, and is not sent more than a little', async (t) => {
  const opened = await openTwo(t);
  await Promise.all(
    opened.map(async ({ socket, bytes }, index) => {
      const chunks: Buffer[] = [];
      let most = 0;
      let isTaking = false;
      // In a later turn, and of the second one every other chunk is put back once.
      let isBack = index === 0;
      const take = (): void => {
        isTaking = false;
        for (
          let chunk = socket.read() as Buffer | null;
          chunk;
          chunk = socket.read() as Buffer | null
        ) {
          isBack = index === 0 || !isBack;
          if (isBack) chunks.push(Buffer.from(chunk));
          else socket.unshift(chunk);
        }
      };
      socket.on('readable', () => {
        most = Math.max(most, socket.readableLength);
        if (isTaking) return;
        isTaking = true;
        setImmediate(take);
      });
      await once(socket, 'end');
      t.true(Buffer.concat(chunks).equals(bytes));
      t.true(most <= 1024 * 1024);
    }),
  );
});
