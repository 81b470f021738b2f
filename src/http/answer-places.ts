import type { Socket } from 'node:net';

export interface AnswerLimits {
  /**
   * Answers at once. 2,048 stopped readers with some 100 KiB each (a socket, a file, one chunk) take
   * 200 MiB, and so many are more than a link of 10 Gbit/s serves at 5 Mbit/s each.
   */
  readonly max: number;
  /**
   * Requests that wait for a place; what is beyond is refused at once. With the answers they are three
   * quarters of the connections, so that there is always one that rests and makes room for a new one.
   */
  readonly maxWaiting: number;
  /**
   * How long a request waits for a place before it is refused. Clients bear a slow mirror; one that
   * refuses they go round, or fail the pull. 10 s is a third of what containerd waits for headers.
   */
  readonly patienceMs: number;
  /**
   * A client that has taken no byte for so long makes room for one that waits: twice what an upstream
   * may be silent in the middle of a blob.
   */
  readonly stalledMs: number;
}

const MAX_ANSWERS = 2048;

/** For a listener of so many connections. */
export function placesFor(connections: number): AnswerLimits {
  return {
    max: Math.min(MAX_ANSWERS, Math.floor(connections / 2)),
    maxWaiting: Math.min(MAX_ANSWERS / 2, Math.floor(connections / 4)),
    patienceMs: 10_000,
    stalledMs: 60_000,
  };
}

/** How many times in `stalledMs` it is looked at who takes bytes. */
const SAMPLES = 12;

/** Of an answer under way. */
export interface Place {
  readonly client: string;
  readonly socket: Socket;
  bytes: number;
  /** When its client had last taken bytes, as far as was looked; on the steady clock. */
  movedAt: number;
}

interface Waiting {
  readonly client: string;
  readonly enter: () => void;
}

/**
 * The places for answers under way. A request that finds none waits in order. The last quarter is
 * closed to a client that has half of all, and half of the room to wait to each, so that no address
 * shuts the others out. By address: it is asked who somebody is only once there is a place to do so.
 */
export class AnswerPlaces {
  readonly #limits: AnswerLimits;
  readonly #places = new Set<Place>();
  readonly #countOf = new Map<string, number>();
  readonly #waiting = new Set<Waiting>();
  #sampling: NodeJS.Timeout | undefined;

  constructor(limits: AnswerLimits) {
    this.#limits = limits;
  }

  /** A place for an answer on this connection, where one is free at once. */
  take(socket: Socket): Place | undefined {
    const client = socket.remoteAddress ?? '';
    return this.#isFreeFor(client) ? this.#take(client, socket) : undefined;
  }

  /**
   * Where none was free: calls `entered` with a place when there is one; with nothing when none came in time or too
   * many wait. Not at all when the client leaves first.
   */
  wait(socket: Socket, entered: (place: Place | undefined) => void): void {
    const client = socket.remoteAddress ?? '';
    if (!this.#mayWait(client)) return entered(undefined);
    const drop = (): void => {
      clearTimeout(timer);
      socket.off('close', drop);
      this.#waiting.delete(waiting);
    };
    const end = (place?: Place): void => {
      drop();
      entered(place);
    };
    const timer = setTimeout(end, this.#limits.patienceMs);
    const waiting = { client, enter: () => end(this.#take(client, socket)) };
    socket.once('close', drop);
    this.#waiting.add(waiting);
    this.#cutStalled();
  }

  #isFreeFor(client: string): boolean {
    const { max } = this.#limits;
    const hasHalf = (this.#countOf.get(client) ?? 0) >= max / 2;
    return this.#places.size < (hasHalf ? 0.75 * max : max);
  }

  #mayWait(client: string): boolean {
    const { maxWaiting } = this.#limits;
    if (this.#waiting.size >= maxWaiting) return false;
    const own = this.#waiting.values().filter((waiting) => waiting.client === client);
    return own.take(Math.ceil(maxWaiting / 2)).toArray().length < maxWaiting / 2;
  }

  #take(client: string, socket: Socket): Place {
    const place = { client, socket, bytes: socket.bytesWritten, movedAt: performance.now() };
    this.#places.add(place);
    this.#countOf.set(client, (this.#countOf.get(client) ?? 0) + 1);
    if (this.#isCrowded)
      this.#sampling ??= setInterval(
        () => this.#cutStalled(),
        this.#limits.stalledMs / SAMPLES,
      ).unref();
    return place;
  }

  leave(place: Place): void {
    const { client } = place;
    this.#places.delete(place);
    const left = (this.#countOf.get(client) ?? 0) - 1;
    if (left > 0) this.#countOf.set(client, left);
    else this.#countOf.delete(client);
    if (this.#sampling && !this.#isCrowded) {
      clearInterval(this.#sampling);
      this.#sampling = undefined;
    }
    for (const waiting of this.#waiting) {
      if (this.#isFreeFor(waiting.client)) return waiting.enter();
    }
  }

  get #isCrowded(): boolean {
    return this.#places.size > this.#limits.max / 2;
  }

  /** Looks who takes bytes, and ends as many stalled answers as there are requests that wait. */
  #cutStalled(): void {
    const now = performance.now();
    let wanted = this.#waiting.size;
    for (const place of this.#places) {
      const { bytesWritten } = place.socket;
      if (bytesWritten !== place.bytes) Object.assign(place, { bytes: bytesWritten, movedAt: now });
      else if (wanted > 0 && now - place.movedAt >= this.#limits.stalledMs) {
        wanted -= 1;
        place.socket.destroy();
      }
    }
  }
}
