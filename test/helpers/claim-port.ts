import { once } from 'node:events';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';

const claims = new Set<Socket>();
/** Client ends of claims: dials that no mirror makes. */
export const claimSockets = new WeakSet<Socket>();
let keeper: Promise<Server> | undefined;

/**
 * A port of 127.0.0.1 on which nothing listens, and which the system gives to nobody else until
 * this process ends: a server of a test can go away and come back there, and meanwhile connections
 * are refused. One end of an open connection is bound to it. Beside such a socket a server may be
 * bound to the same port by its number, and `listen(0)` and outgoing connections pass it over.
 */
export async function claimPort(): Promise<number> {
  keeper ??= startKeeper();
  const { port } = (await keeper).address() as AddressInfo;
  const claim = new Socket();
  claimSockets.add(claim);
  claim.connect({ host: '127.0.0.1', port, localAddress: '127.0.0.1' });
  await once(claim, 'connect');
  claims.add(claim.unref());
  return claim.localPort!;
}

/** The other end of all those connections. */
async function startKeeper(): Promise<Server> {
  const server = createServer((socket) => void socket.unref()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.unref();
}
