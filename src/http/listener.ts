import { constants } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_CIPHERS, TLSSocket } from 'node:tls';
import type { ListenConfig } from '../config/config.ts';
import { readClientAuthorities } from '../config/pem.ts';
import type { Log } from '../observe/log.ts';
import { RegistryError } from '../oci/errors.ts';
import { Connections, type WhenFull } from './connections.ts';
import { TEXTS } from './texts.ts';

/** podman asks for up to 1024 ranges in one header line of about 25 KB. */
const MAX_HEADER_BYTES = 64 * 1024;
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Node's own is 30 s: a deadline would be three times as long as it says. */
const DEADLINES_POLL_MS = 1_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** Without a byte either way; longer than any client waits (containerd: 5 minutes). */
const IDLE_TIMEOUT_MS = 10 * 60_000;
const CERTIFICATE_POLL_MS = 1_000;

/** Of TLS 1.3. It costs less than AES with the longer key, and servers in Go prefer it too. */
const FIRST_CIPHER = 'TLS_AES_128_GCM_SHA256';
/** Node's own, in the server's order. */
const CIPHERS = DEFAULT_CIPHERS.split(':')
  .toSorted((a, b) => Number(b === FIRST_CIPHER) - Number(a === FIRST_CIPHER))
  .join(':');

/** The client took too long over the headers of a request. */
const LATE = 'ERR_HTTP_REQUEST_TIMEOUT';

export type { WhenFull } from './connections.ts';

/** Rejects when the signal aborts first. */
export type Pause = (milliseconds: number, signal: AbortSignal) => Promise<unknown>;

const PAUSE: Pause = async (milliseconds, signal) => sleep(milliseconds, undefined, { signal });

/** A socket in a folder; who may use it is a matter of the folder's mode. */
export interface SocketPath {
  readonly path: string;
}

/** Where it listens, and with what. */
export interface ListenPlace extends ListenConfig {
  /** File of the authorities that certificates of clients are verified by; without it they are asked for none. */
  readonly clientCa?: string | undefined;
}

/** A listening socket with its server: plain or TLS, with limits on what clients may do to it. */
export class Listener {
  readonly #server: Server | HttpsServer;
  readonly #connections: Connections;
  #closing: Promise<void> | undefined;
  readonly #stopReloading: () => void;
  readonly #scheme: 'http' | 'https';

  /** Resolves when it listens. */
  static async open(
    config: ListenPlace | SocketPath,
    serve: RequestListener,
    log: Log,
    full?: WhenFull,
  ): Promise<Listener> {
    const listener = new Listener(config, { serve, log, full });
    await listener.#listen(config);
    return listener;
  }

  constructor(
    config: ListenPlace | SocketPath,
    { serve, log, full }: { serve: RequestListener; log: Log; full: WhenFull | undefined },
  ) {
    this.#connections = new Connections(serve, full);
    const headersTimeout = full?.headersMs ?? HEADERS_TIMEOUT_MS;
    const handle: RequestListener = (...exchange) => this.#connections.receive(...exchange);
    const options = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout,
      // A command may send the admin API an image of any size: what is idle is closed all the same.
      requestTimeout: full ? REQUEST_TIMEOUT_MS : 0,
      connectionsCheckingInterval: DEADLINES_POLL_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      noDelay: true,
      // The application answers these in the error format of the spec.
      requireHostHeader: false,
    };
    const files =
      'path' in config || !config.tls ? undefined : { ...config.tls, ...clientCaOf(config) };
    this.#scheme = files ? 'https' : 'http';
    if (files) {
      const asked = { requestCert: files.clientCa !== undefined, rejectUnauthorized: false };
      const server = createHttpsServer(
        { ...options, handshakeTimeout: headersTimeout, ...asked, ...readTls(files) },
        handle,
      );
      this.#server = server;
      this.#stopReloading = this.#reloadTls(server, files, log);
    } else {
      this.#server = createHttpServer(options, handle);
      this.#stopReloading = () => {};
    }
    this.#server.setTimeout(IDLE_TIMEOUT_MS);
    this.#server.on('connection', (socket: Socket) => this.#connections.accept(socket));
    this.#server.on('secureConnection', (socket: Socket) => this.#connections.secure(socket));
    this.#server.on('checkExpectation', handle);
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      // What is late is late because it is not read: answers are under way before it.
      if (error.code === LATE && this.#connections.isAhead(socket)) return;
      refuse(error, socket);
    });
  }

  /** Where it listens; `undefined` for a socket in a folder. */
  get address(): AddressInfo | undefined {
    const bound = this.#server.address();
    return bound === null || typeof bound === 'string' ? undefined : bound;
  }

  /** `unix:PATH` for a socket in a folder. */
  get url(): string {
    const bound = this.#server.address() as AddressInfo | string;
    if (typeof bound === 'string') return `unix:${bound}`;
    const { address, port, family } = bound;
    return `${this.#scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /**
   * Ends within this time, in milliseconds. For the first half all goes on: balancers have not heard
   * yet, and a pull may be between two requests; only what has been idle for as long is closed. Then
   * nothing new is taken, and each connection ends with its answer. What still runs is cut before the
   * last tenth, which is left for what stands behind the listener.
   */
  async close(graceMs: number, pause: Pause = PAUSE): Promise<void> {
    return (this.#closing ??= this.#close(graceMs, pause));
  }

  async #close(graceMs: number, pause: Pause): Promise<void> {
    const halfMs = graceMs / 2;
    const ended = new AbortController();
    this.#connections.closeIdle(halfMs);
    if (halfMs > 0) await pause(halfMs, ended.signal);
    this.#stopReloading();
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#connections.endWithAnswers();
    const cut = (): void => this.#connections.cut();
    const restMs = 0.9 * graceMs - halfMs;
    if (restMs > 0) void pause(restMs, ended.signal).then(cut, () => undefined);
    else cut();
    await closed;
    ended.abort();
  }

  /** By polling: a watcher misses links that are swapped, as Kubernetes does with secrets. */
  #reloadTls(server: HttpsServer, tls: TlsFiles, log: Log): () => void {
    const { cert, clientCa } = tls;
    const reload = (): void => {
      try {
        server.setSecureContext(readTls(tls));
        if (clientCa !== undefined) this.#connections.renew(mayShowCertificate);
        log.info({ cert, clientCa }, 'certificate reloaded');
      } catch (err) {
        // Certificate and key are replaced one after the other: the second change completes the pair.
        log.warn({ cert, clientCa, err }, 'certificate not reloaded, the old one stays');
      }
    };
    const files = Object.values(tls);
    for (const file of files) watchFile(file, { interval: CERTIFICATE_POLL_MS }, reload);
    return () => {
      for (const file of files) unwatchFile(file, reload);
    };
  }

  async #listen(config: ListenPlace | SocketPath): Promise<void> {
    this.#server.listen(
      'path' in config ? { path: config.path } : { host: config.host, port: config.port },
    );
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      this.#stopReloading();
      throw error;
    }
  }
}

interface TlsFiles extends NonNullable<ListenConfig['tls']> {
  readonly clientCa?: string;
}

function clientCaOf({ clientCa }: ListenPlace): Pick<TlsFiles, 'clientCa'> {
  return clientCa === undefined ? {} : { clientCa };
}

/**
 * No session is taken up again where clients show certificates: they are verified with each connection,
 * by the authorities of that day. The clients of registries that are written in Go take none up anyway.
 */
function readTls({ cert, key, clientCa }: TlsFiles) {
  const own = { cert: readFileSync(cert), key: readFileSync(key), ciphers: CIPHERS };
  if (clientCa === undefined) return own;
  const { pem: ca } = readClientAuthorities(clientCa);
  return { ...own, ca, secureOptions: constants.SSL_OP_NO_TICKET };
}

/** Also one that still shakes hands. */
function mayShowCertificate(socket: Socket): boolean {
  return !(socket instanceof TLSSocket) || socket.getPeerX509Certificate() !== undefined;
}

/** What cannot be parsed as a request: a spec error where the client can still hear it. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || socket.bytesWritten > 0 || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  const late = error.code === LATE;
  const status = tooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const body = JSON.stringify(
    new RegistryError('UNSUPPORTED', {
      message: tooLarge ? TEXTS.headersTooLarge : TEXTS.badRequest,
    }),
  );
  socket.end(
    `HTTP/1.1 ${late ? '408 Request Timeout' : status}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
