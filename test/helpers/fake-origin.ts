import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createHttpsServer, Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { claimPort, untilRefused } from './claim-port.ts';

export interface TlsOptions {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  /** Authorities that client certificates are checked against. */
  readonly ca?: string | Buffer;
  /** True: a connection without a valid client certificate is refused. `ask`: it is served too. */
  readonly requestClientCert?: boolean | 'ask';
  /** How long an idle connection is kept, in milliseconds; a minute unless given. */
  readonly keepAliveTimeout?: number;
}

interface Parts {
  /** The name in the address; it listens on 127.0.0.1, or on ::1 where it is `[::1]`. */
  readonly host: string;
  readonly tls?: TlsOptions | undefined;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
}

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
    if (this.#port > 0) await this.#listen(server);
    else await this.#listenFirst(server);
  }

  /** On a port that is claimed. On a machine full of connections one was in use all the same. */
  async #listenFirst(server: Server, left = 3): Promise<void> {
    this.#port = await claimPort();
    try {
      await this.#listen(server);
    } catch (error) {
      if (left === 0 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await this.#listenFirst(server, left - 1);
    }
  }

  async #listen(server: Server): Promise<void> {
    server.listen(this.#port, this.#parts.host === '[::1]' ? '::1' : '127.0.0.1');
    await once(server, 'listening');
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
    await untilRefused(this.#port);
  }

  /** Comes back at once, on the same port, with another certificate. */
  async changeTls(tls: TlsOptions): Promise<void> {
    await this.refuse();
    this.#tls = tls;
    await this.accept();
  }

  /** Another certificate and other authorities from the next handshake on; what is connected goes on. */
  renewTls({ key, cert, ca }: TlsOptions): void {
    const server = this.#server;
    if (server instanceof HttpsServer) server.setSecureContext({ key, cert, ca });
  }

  /** Destroys every connection, and each new one as soon as it is accepted. */
  drop(): void {
    this.#drops = true;
    this.#destroySockets();
  }

  #createServer(): Server {
    const { handle } = this.#parts;
    const tls = this.#tls;
    const limits = {
      maxHeaderSize: 65_536,
      requestTimeout: 0,
      headersTimeout: 0,
      // Told to clients, which keep a connection as long: on a slow machine a test counts them, too.
      keepAliveTimeout: 60_000,
    };
    if (!tls) return createHttpServer(limits, handle);
    const { requestClientCert = false, ...rest } = tls;
    const settings = { ...limits, ...rest, requestCert: requestClientCert !== false };
    return createHttpsServer(
      { ...settings, rejectUnauthorized: requestClientCert === true },
      handle,
    );
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
