import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

export interface Tunnel {
  readonly url: string;
  /** Where it was asked to connect to, as `host:port`. */
  readonly asked: readonly string[];
}

/** A proxy for CONNECT that leads every host to one and the same address on loopback. */
export async function startTunnel(t: ExecutionContext, target: string): Promise<Tunnel> {
  const asked: string[] = [];
  const { hostname, port } = new URL(target);
  const server = createServer().on('connect', ({ url = '' }, socket) => {
    asked.push(url);
    const far = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(far).pipe(socket);
    });
    for (const side of [socket, far]) {
      side.on('error', () => {});
      side.on('close', () => [socket, far].forEach((each) => each.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port: own } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${own}`, asked };
}
