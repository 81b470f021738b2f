import { once } from 'node:events';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { until } from './until.ts';

const claims = new Set<Socket>();
/** Client ends of claims, and looks at claimed ports: dials that no mirror makes. */
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

/**
 * Resolves when nothing listens any more on a claimed port whose server was closed. A process that
 * another thread is starting has a copy of every open descriptor, of a listening socket too, until its
 * program runs: till then connections are taken, and a new server finds the port in use.
 */
export async function untilRefused(port: number): Promise<void> {
  await until(`nothing listens on port ${port}`, async () => !(await isTaken(port)));
}

async function isTaken(port: number): Promise<boolean> {
  const dial = new Socket();
  claimSockets.add(dial);
  try {
    dial.connect({ host: '127.0.0.1', port });
    await once(dial, 'connect');
    return true;
  } catch (error) {
    // Refused or, by a copy that goes at this moment, reset.
    return (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED';
  } finally {
    dial.destroy();
  }
}

/** The other end of all those connections. */
async function startKeeper(): Promise<Server> {
  const server = createServer((socket) => void socket.unref()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.unref();
}
