import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { ExecutionContext } from 'ava';

/**
 * Listens on a port of its own of 127.0.0.1, and resolves with the address. At the end of the test
 * it closes, and every connection is destroyed, whatever came of it.
 */
export async function serve(t: Pick<ExecutionContext, 'teardown'>, server: Server): Promise<URL> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const scheme = server instanceof TlsServer ? 'https' : 'http';
  return new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`);
}
