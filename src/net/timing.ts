import { Backoff } from '../time/backoff.ts';

/** How long the other side is waited for, in milliseconds. */
export interface Timing {
  /** Name resolution, TCP and TLS. */
  readonly connectMs: number;
  /** From a request to the headers of its answer. Clients of the field wait 10 s for a small answer. */
  readonly headersMs: number;
  /** The same for a blob, which a mirror may have to fetch first. containerd waits 30 s for headers. */
  readonly firstByteMs: number;
  /** Over a whole exchange but the body of a blob; a second more for each KiB received. */
  readonly exchangeMs: number;
  /** For the rest of an answer that nobody wants; the connection is closed after it. */
  readonly discardMs: number;
  /** Between two chunks of a body. */
  readonly stallMs: number;
  /** From the first attempt of a request to the last one's start. containerd waits 30 s in all. */
  readonly attemptsMs: number;
  /** How long a small answer may be silent before all who wait for it share one more question. */
  readonly patienceMs: number;
  /**
   * For all of a list, however many requests and bytes it takes: 200 pages of 1,000 names at half a
   * second each, and a page of 4 MiB at 35 KiB/s; 120 s unless given.
   */
  readonly listingMs?: number;
  /** How long a range far ahead of a running transfer waits for it before it asks by itself. */
  readonly rangeMs: number;
  /** For the question whether an upstream is there at all. */
  readonly probeMs: number;
  /** How long a blob's transfer may bring next to nothing while others wait; 2 s unless given. */
  readonly turnMs?: number;
  /** From how many bytes on a blob may come over several connections, in pieces of up to as many; 32 MiB unless given. */
  readonly dividedBytes?: number;
  /** How long a blob stays open of which nobody reads a part any more; 10 s unless given. */
  readonly idleMs?: number;
  /** The first pause before another attempt; doubled each time, jittered. */
  readonly retryMs: number;
  /** How long an upstream that is down is left alone at first; doubled up to half a minute. */
  readonly breakerMs: number;
  /** How long a scrub waits for a damaged blob to come anew; 5 minutes unless given. */
  readonly healMs?: number;
  /** Before a scanner is first asked for a report; 1 s unless given. */
  readonly scanPauseMs?: number;
  /** How long after its last pull an image is completed in the background. */
  readonly hydrateMs: number;
}

/** A link that brings less is not waited for: a layer of a MiB would take it a quarter of an hour. */
export const MIN_BYTES_PER_SECOND = 1024;

export const DEFAULT_TIMING: Timing = {
  connectMs: 5_000,
  headersMs: 10_000,
  firstByteMs: 25_000,
  exchangeMs: 30_000,
  discardMs: 2_000,
  stallMs: 30_000,
  attemptsMs: 12_000,
  patienceMs: 10_000,
  rangeMs: 1_000,
  probeMs: 5_000,
  retryMs: 200,
  breakerMs: 1_000,
  hydrateMs: 30_000,
};

/** The pauses between attempts to ask an upstream. */
export function pausesOf({ retryMs }: Pick<Timing, 'retryMs'>): Backoff {
  return new Backoff({ firstMs: retryMs, maxMs: 10_000, isJittered: true });
}
