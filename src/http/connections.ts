import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ANSWER_LIMITS, AnswerPlaces, type AnswerLimits } from './answer-places.ts';

/**
 * Requests that a client has sent ahead on one connection. Reading stops at the first one, so that
 * these are what stood in a read of 64 KiB; no client of registries sends any.
 */
const MAX_AHEAD = 2_000;

/** Of a listener that has a limited number of answers under way at once. */
export interface WhenFull {
  /** Answers a request for which no place came. */
  readonly refuse: RequestListener;
  readonly limits?: AnswerLimits;
}

type Exchange = readonly [request: IncomingMessage, response: ServerResponse];

interface Connection {
  /** The answer under way. */
  current: ServerResponse | undefined;
  /** Requests behind it, in order. */
  readonly ahead: Exchange[];
  /** When the last answer ended; on the steady clock. */
  idleSince: number;
}

/**
 * Hands requests to the application, one at a time of each connection: what a client sends ahead
 * waits, as text in its socket where it can, until the answer before it has ended.
 */
export class Connections {
  readonly #serve: RequestListener;
  readonly #refuse: RequestListener;
  readonly #places: AnswerPlaces | undefined;
  readonly #connections = new Map<Socket, Connection>();
  #isLast = false;

  constructor(serve: RequestListener, full?: WhenFull) {
    this.#serve = serve;
    this.#refuse = full?.refuse ?? serve;
    this.#places = full && new AnswerPlaces(full.limits ?? ANSWER_LIMITS);
  }

  receive(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.#connectionOf(socket);
    if (!connection.current) this.#begin(connection, request, response);
    else if (connection.ahead.push([request, response]) > MAX_AHEAD) socket.destroy();
    else socket.pause();
  }

  /** Whether requests wait on it: then the rest of the next one is left unread by us. */
  isAhead(socket: Socket): boolean {
    return (this.#connections.get(socket)?.ahead.length ?? 0) > 0;
  }

  /** Closes those without a request that have been so for this long, in milliseconds. */
  closeIdle(idleMs = 0): void {
    const since = performance.now() - idleMs;
    for (const [socket, { current, idleSince }] of this.#connections) {
      if (!current && idleSince <= since) socket.destroySoon();
    }
  }

  /** From here on each connection ends with its answer. */
  endWithAnswers(): void {
    this.#isLast = true;
    for (const { current } of this.#connections.values()) {
      if (current) current.shouldKeepAlive = false;
    }
    this.closeIdle();
  }

  #connectionOf(socket: Socket): Connection {
    const known = this.#connections.get(socket);
    if (known) return known;
    const connection = { current: undefined, ahead: [], idleSince: 0 };
    this.#connections.set(socket, connection);
    socket.once('close', () => this.#connections.delete(socket));
    return connection;
  }

  #begin(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    connection.current = response;
    if (this.#isLast) response.shouldKeepAlive = false;
    let leave: (() => void) | undefined;
    response.once('close', () => {
      leave?.();
      this.#ended(connection, request.socket);
    });
    if (!this.#places) return this.#serve(request, response);
    this.#places.enter(request.socket, (entered) => {
      leave = entered;
      if (entered) this.#serve(request, response);
      else this.#refuse(request, response);
    });
  }

  #ended(connection: Connection, socket: Socket): void {
    connection.current = undefined;
    connection.idleSince = performance.now();
    if (!socket.writable) return;
    if (this.#isLast) return socket.destroySoon();
    const next = connection.ahead.shift();
    if (!next) return;
    this.#begin(connection, ...next);
    if (connection.ahead.length === 0) socket.resume();
    // The end of an answer starts the reading of the next request; what is here comes first.
    else setImmediate(() => connection.ahead.length > 0 && socket.pause());
  }
}
