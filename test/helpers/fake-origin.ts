import { randomInt } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';

export interface TlsOptions {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  /** Authorities that client certificates are checked against. */
  readonly ca?: string | Buffer;
  /** A connection without a valid client certificate is refused. */
  readonly requestClientCert?: boolean;
}

interface Parts {
  /** The name in the address; it always listens on {@link ADDRESS}. */
  readonly host: string;
  readonly tls?: TlsOptions | undefined;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

/**
 * Below the range that the system chooses from: while an origin refuses, no other server of a test
 * that runs at the same time gets its port and answers in its place.
 */
const FIRST_PORT = 10_000;
const LAST_PORT = 32_000;

const ADDRESS = '127.0.0.1';

/** Where an origin holds its port until its process ends, so that no other origin takes it. */
const CLAIM_ADDRESS = '127.0.0.2';

/** One listening address that can go down and come back on the same port. */
export class FakeOrigin {
  /** TCP connections accepted since the start. */
  connections = 0;
  readonly #parts: Parts;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  #drops = false;
  #tls: TlsOptions | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#tls = parts.tls;
  }

  static async start(parts: Parts): Promise<FakeOrigin> {
    const origin = new FakeOrigin(parts);
    await origin.accept();
    return origin;
  }

  get host(): string {
    return `${this.#parts.host}:${this.#port}`;
  }

  get url(): string {
    return `${this.#tls ? 'https' : 'http'}://${this.host}`;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Listens, on the port of the first time. */
  async accept(): Promise<void> {
    this.#drops = false;
    if (this.#server) return;
    const server = this.#createServer();
    server.on('connection', (socket) => this.#connected(socket));
    this.#server = server;
    if (this.#port !== 0) return listen(server, this.#port, ADDRESS);
    while (this.#port === 0) {
      const port = randomInt(FIRST_PORT, LAST_PORT);
      const claim = createHttpServer().unref();
      const isOurs =
        (await listens(claim, port, CLAIM_ADDRESS)) && (await listens(server, port, ADDRESS));
      if (isOurs) this.#port = port;
      else claim.close();
    }
  }

  /** Closes the listening socket and destroys every connection: the next dial is ECONNREFUSED. */
  async refuse(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    this.#destroySockets();
    await promise;
  }

  /** Comes back at once, on the same port, with another certificate. */
  async changeTls(tls: TlsOptions): Promise<void> {
    await this.refuse();
    this.#tls = tls;
    await this.accept();
  }

  /** Destroys every connection, and each new one as soon as it is accepted. */
  drop(): void {
    this.#drops = true;
    this.#destroySockets();
  }

  #createServer(): Server {
    const { handle } = this.#parts;
    const tls = this.#tls;
    const limits = { maxHeaderSize: 65_536, requestTimeout: 0, headersTimeout: 0 };
    if (!tls) return createHttpServer(limits, handle);
    const { requestClientCert = false, ...rest } = tls;
    const settings = { ...limits, ...rest, requestCert: requestClientCert };
    return createHttpsServer({ ...settings, rejectUnauthorized: requestClientCert }, handle);
  }

  #connected(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#drops) socket.destroy();
  }

  #destroySockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

async function listens(server: Server, port: number, address: string): Promise<boolean> {
  try {
    await listen(server, port, address);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return false;
  }
}

async function listen(server: Server, port: number, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, address, resolve);
  await promise.finally(() => server.off('error', reject));
}
