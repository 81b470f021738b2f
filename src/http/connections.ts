import { readFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { AnswerPlaces, placesFor, type AnswerLimits, type Place } from './answer-places.ts';

/**
 * Requests that a client has sent ahead on one connection. Reading stops at the first one, so that
 * these are what stood in a read of 64 KiB; no client of registries sends any.
 */
const MAX_AHEAD = 2_000;
/** Twice the answers at once: as many may rest or wait. Idle ones with TLS take some 50 KiB each. */
const MAX_CONNECTIONS = 4096;
/** Scrapers, probes and commands are few, and their door stays open while the other one is crowded. */
const MAX_PRIVATE_CONNECTIONS = 128;

/** Of a listener that has a limited number of answers under way at once. */
export interface WhenFull {
  /** Answers a request for which no place came. */
  readonly refuse: RequestListener;
  readonly connections?: number;
  readonly answers?: AnswerLimits;
  /** For the headers of a request; 15 s unless given. */
  readonly headersMs?: number;
}

interface Connection {
  readonly client: string | undefined;
  /** That of TLS once hands are shaken. */
  socket: Socket;
  /** The answer under way. */
  current: ServerResponse | undefined;
  place: Place | undefined;
  /** Called when that answer has ended. */
  readonly ended: () => void;
  /** Requests behind it, in order. */
  readonly ahead: (readonly [request: IncomingMessage, response: ServerResponse])[];
  hasAsked: boolean;
  /** It ends with the answer under way. */
  isLast: boolean;
  /** When it was made or its last answer ended; on the steady clock. */
  idleSince: number;
}

/**
 * The connections of a listener. There are only so many: a new one closes the one that is idle for
 * longest, whose client connects again when it has something to ask, and is closed itself while all
 * others are being answered. An address that has half of all closes one of its own. Requests go to the application one at a time of each connection: what a
 * client sends ahead waits, as text in its socket where it can, until the answer before it has ended.
 */
export class Connections {
  readonly #serve: RequestListener;
  readonly #refuse: RequestListener;
  readonly #max: number;
  readonly #places: AnswerPlaces | undefined;
  readonly #open = new Set<Connection>();
  readonly #bySocket = new Map<Socket, Connection>();
  readonly #byEnds = new Map<string, Connection>();
  #isLast = false;

  constructor(serve: RequestListener, full?: WhenFull) {
    const most = connectionsFor(descriptorLimit());
    this.#serve = serve;
    this.#refuse = full?.refuse ?? serve;
    this.#max = full ? (full.connections ?? most) : Math.min(MAX_PRIVATE_CONNECTIONS, most / 2);
    this.#places = full && new AnswerPlaces(full.answers ?? placesFor(this.#max));
  }

  accept(socket: Socket): Connection {
    const connection: Connection = {
      client: socket.remoteAddress,
      socket,
      current: undefined,
      place: undefined,
      ended: () => this.#ended(connection),
      ahead: [],
      hasAsked: false,
      isLast: false,
      idleSince: performance.now(),
    };
    const ends = endsOf(socket);
    this.#open.add(connection);
    this.#bySocket.set(socket, connection);
    this.#byEnds.set(ends, connection);
    socket.once('close', () => {
      this.#open.delete(connection);
      this.#bySocket.delete(socket);
      if (this.#byEnds.get(ends) === connection) this.#byEnds.delete(ends);
    });
    if (this.#open.size > this.#max) this.#makeRoom(connection);
    return connection;
  }

  /** Hands are shaken: what was accepted is spoken to by this socket from now on. */
  secure(socket: Socket): void {
    const connection = this.#byEnds.get(endsOf(socket));
    if (!connection) return;
    connection.socket = socket;
    this.#bySocket.set(socket, connection);
    socket.once('close', () => this.#bySocket.delete(socket));
  }

  receive(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.#bySocket.get(socket) ?? this.accept(socket);
    if (!connection.current) this.#begin(connection, request, response);
    else if (connection.ahead.push([request, response]) > MAX_AHEAD) socket.destroy();
    else socket.pause();
  }

  /** Whether requests wait on it: then the rest of the next one is left unread by us. */
  isAhead(socket: Socket): boolean {
    return (this.#bySocket.get(socket)?.ahead.length ?? 0) > 0;
  }

  /** Closes those that had a request once and none for this long, in milliseconds. */
  closeIdle(idleMs = 0): void {
    const since = performance.now() - idleMs;
    for (const { socket, current, hasAsked, idleSince } of this.#open) {
      if (!current && hasAsked && idleSince <= since) socket.destroySoon();
    }
  }

  /** From here on each connection ends with its answer; one that has sent nothing gets none. */
  endWithAnswers(): void {
    this.#isLast = true;
    for (const { current, socket } of this.#open) {
      if (current) current.shouldKeepAlive = false;
      else if (socket.bytesRead === 0) socket.destroy();
    }
    this.closeIdle();
  }

  /**
   * These end with the answer under way, or at once where one has ended: their clients ask again on another
   * one. One that has asked for nothing yet ends with its first answer.
   */
  renew(isMeant: (socket: Socket) => boolean): void {
    for (const connection of this.#open) {
      const { current, socket, hasAsked } = connection;
      if (!isMeant(socket)) continue;
      connection.isLast = true;
      if (current) current.shouldKeepAlive = false;
      else if (hasAsked) socket.destroySoon();
    }
  }

  /** Also those that never finish a handshake, which the server's own closing does not know. */
  cut(): void {
    for (const { socket } of this.#open) socket.destroy();
  }

  #makeRoom({ client }: Connection): void {
    const isOwn = (other: Connection): boolean => other.client === client;
    const hasHalf = this.#open.values().filter(isOwn).toArray().length > this.#max / 2;
    this.#open
      .values()
      .filter(({ current, socket }) => !current && socket.writable)
      .filter((idle) => !hasHalf || isOwn(idle))
      .reduce<Connection | undefined>(longerIdle, undefined)
      ?.socket.destroy();
  }

  #begin(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    connection.current = response;
    connection.hasAsked = true;
    if (this.#isLast || connection.isLast) response.shouldKeepAlive = false;
    response.on('close', connection.ended);
    const { socket } = request;
    connection.place = this.#places?.take(socket);
    if (connection.place || !this.#places) return this.#serve(request, response);
    this.#places.wait(socket, (place) => {
      connection.place = place;
      if (place) this.#serve(request, response);
      else this.#refuse(request, response);
    });
  }

  #ended(connection: Connection): void {
    const { socket, ahead, place } = connection;
    connection.current = undefined;
    connection.place = undefined;
    if (place) this.#places?.leave(place);
    connection.idleSince = performance.now();
    if (!socket.writable) return;
    if (this.#isLast || connection.isLast) return socket.destroySoon();
    const next = ahead.shift();
    if (!next) return;
    this.#begin(connection, ...next);
    if (ahead.length === 0) socket.resume();
    // The end of an answer starts the reading of the next request; what is here comes first.
    else setImmediate(() => ahead.length > 0 && socket.pause());
  }
}

function longerIdle(longest: Connection | undefined, other: Connection): Connection {
  return longest && longest.idleSince <= other.idleSince ? longest : other;
}

/**
 * A quarter of the descriptors: a connection may take two, its socket and the file that is sent on it.
 * The other half is for upstreams, downloads and the catalog, which keeps a fifth for itself at most.
 */
function connectionsFor(descriptors: number): number {
  return Math.max(4, Math.min(MAX_CONNECTIONS, Math.floor(descriptors / 4)));
}

/** Of this process, which Node has raised as far as it may; not known where there is no such file. */
function descriptorLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  } catch {
    return Infinity;
  }
}

/** The same of a socket with TLS and of the one below it. */
function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return [remoteAddress, remotePort, localAddress, localPort].join(' ');
}
