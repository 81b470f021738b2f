import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server } from 'node:net';

/** Below the range that the system takes the ports of `listen(0)` and of connections from. */
const FIRST_PORT = 10_000;
const LAST_PORT = 32_000;

/** Whoever listens here has the same port of 127.0.0.1 to itself. Linux has all of 127.0.0.0/8. */
const CLAIM_ADDRESS = '127.0.0.2';

/**
 * A port of 127.0.0.1 that nothing listens on, and that no other claim of any process gets until
 * this process ends: a server of a test can go away and come back there, and meanwhile a connection
 * is refused and never answered by the server of another test.
 */
export async function claimPort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, LAST_PORT);
    const claim = await listen(port, CLAIM_ADDRESS);
    const trial = claim && (await listen(port, '127.0.0.1'));
    if (!trial) {
      claim?.close();
      continue;
    }
    claim.unref();
    trial.close();
    await once(trial, 'close');
    return port;
  }
}

/** A server that listens there, or nothing where somebody else does. */
async function listen(port: number, host: string): Promise<Server | undefined> {
  const server = createServer().listen({ port, host });
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return undefined;
  }
}
