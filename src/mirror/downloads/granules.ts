import type { ByteRange } from '../../oci/content.ts';
import { IntegrityError } from '../../oci/digest.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { TEXTS } from '../texts.ts';
import { until, type SharedDemand } from './demand.ts';
import type { Filling } from './filling.ts';
import { FAR_BYTES, GRANULE_BYTES, PART_BYTES } from './range-policy.ts';
import { Transfer } from './transfer.ts';
import type { TransferSource } from './transfer-source.ts';
import type { Wish } from './wish.ts';

export interface GranulesParts {
  readonly source: TransferSource;
  readonly demand: SharedDemand;
  readonly filling: Filling;
  /** Of the blob. */
  readonly size: number;
  /** Told where a range begins that the upstream sends now: what else was to bring it need not. */
  readonly answered: (start: number) => void;
  /** Told when a wish fails. */
  readonly failed: () => void;
  /** Nobody wants the rest: what nobody waits for may end. */
  readonly isAlone: () => boolean;
}

/** Of one blob at a time; others wait, and take a place each of those that the upstream has. */
const MAX_FLIGHTS = 32;
/** What a reader without a near end has fetched at a time, and how far ahead of where it is. */
const STRETCH = { bytes: 4 * 1024 * 1024, ahead: 2 * 1024 * 1024 } as const;

/** What is so near its end comes all the same: others ask for the same granules. */
const NEARLY_DONE_BYTES = 4 * GRANULE_BYTES;

interface Flight {
  readonly transfer: Transfer;
  readonly range: ByteRange;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Ranges of a blob that are fetched for who reads them, in granules, each once whoever asks for it: what is
 * missing, and on its way in no other manner, is asked for in as few ranges as possible. A range that nobody
 * waits for any more ends, unless little of it is left or all of the blob is wanted.
 */
export class Granules {
  readonly #parts: GranulesParts;
  readonly #wishes = new Set<OneWish>();
  readonly #flights = new Set<Flight>();
  readonly #first = Promise.withResolvers<boolean>();
  #isRefused = false;
  #isClosed = false;

  constructor(parts: GranulesParts) {
    this.#parts = parts;
    // Nobody may be waiting for it.
    this.#first.promise.catch(() => undefined);
  }

  /** Of the first range: false when the upstream has no such blob. */
  get hasAnswered(): Promise<boolean> {
    return this.#first.promise;
  }

  /** The upstream answers something else than ranges: all of the blob is to be fetched. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Whether all of them are here. */
  holds(ranges: readonly ByteRange[]): boolean {
    return ranges.every((range) => this.#parts.filling.holes(range).length === 0);
  }

  /** All of them at once, but for long ones, which are read from their start on. */
  want(ranges: readonly ByteRange[]): Wish {
    const wish = new OneWish(ranges, {
      moved: () => this.#serve([wish]),
      leave: () => this.#leave(wish),
    });
    this.#wishes.add(wish);
    this.#serve([wish]);
    return wish;
  }

  /** Ends what is on its way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const flights = [...this.#flights];
    for (const { abort } of flights) abort.abort();
    await Promise.all(flights.map(async ({ ended }) => ended));
  }

  #leave(wish: OneWish): void {
    this.#wishes.delete(wish);
    if (!this.#parts.isAlone()) return;
    const others = [...this.#wishes];
    for (const { transfer, range, abort } of this.#flights) {
      const { start = 0, end = 0 } = this.#parts.filling.of(transfer) ?? {};
      const isWorth = end - start > NEARLY_DONE_BYTES;
      if (isWorth && !others.some((other) => other.needs(range))) abort.abort();
    }
  }

  #serve(wishes: Iterable<OneWish> = this.#wishes): void {
    for (const wish of wishes) {
      for (const range of this.#missing(wish)) {
        const isFull = this.#flights.size >= MAX_FLIGHTS;
        if (isFull || this.#isRefused || this.#isClosed) return;
        this.#send(range);
      }
    }
  }

  *#missing(wish: OneWish): Generator<ByteRange> {
    const { filling, size } = this.#parts;
    if (wish.failure !== undefined) return;
    if (wish.isLong) {
      const { position } = wish;
      for (const { start, end } of joined(wish.ranges, size, position)) {
        for (const free of filling.free({ start, end }, FAR_BYTES)) {
          if (free.start >= position + STRETCH.ahead) return;
          yield { start: free.start, end: Math.min(free.end, free.start + STRETCH.bytes) };
        }
      }
      return;
    }
    const pending = (wish.pending ??= joined(wish.ranges, size));
    while (pending[0] && filling.holes(pending[0]).length === 0) pending.shift();
    for (const range of pending) yield* filling.free(range, FAR_BYTES);
  }

  #send(range: ByteRange): void {
    const { source, demand, filling, size } = this.#parts;
    const abort = new AbortController();
    const transfer = new Transfer({
      ...source,
      demand: until(demand, abort.signal),
      isPart: true,
      turnSize: range.end - range.start,
    });
    transfer.expect(size);
    filling.note(transfer, range);
    const ended = this.#bring(transfer, range).then(
      () => undefined,
      (error: unknown) => this.#judge(range, error, abort.signal),
    );
    const flight: Flight = {
      transfer,
      range,
      abort,
      ended: ended.finally(() => {
        this.#flights.delete(flight);
        transfer.discard();
        filling.remove(transfer);
        this.#serve();
      }),
    };
    this.#flights.add(flight);
  }

  async #bring(transfer: Transfer, { start, end }: ByteRange): Promise<void> {
    const { source, filling, size } = this.#parts;
    if (!(await filling.spread(size))) return;
    const isThere = await transfer.start(start, end);
    this.#first.resolve(isThere);
    if (!isThere) {
      throw new UpstreamError(source.upstream.name, 'bad-response', TEXTS.vanished(source), {
        status: 404,
      });
    }
    this.#parts.answered(start);
    for await (const chunk of transfer.chunks()) {
      if (!(await filling.keep(transfer, chunk))) return;
    }
  }

  #judge(range: ByteRange, error: unknown, { aborted }: AbortSignal): void {
    this.#first.reject(error);
    const { source, filling, demand } = this.#parts;
    if (aborted || demand.signal.aborted) return;
    if (isNoRange(error)) {
      source.ranges.fallBack();
      this.#isRefused = true;
    } else {
      for (const wish of this.#wishes) if (wish.needs(range)) wish.failure = error;
    }
    this.#parts.failed();
    filling.wake();
  }
}

/** It has the blob, although no part of it as asked for. */
function isNoRange(error: unknown): boolean {
  if (error instanceof IntegrityError) return true;
  if (!(error instanceof UpstreamError)) return false;
  const { status = 0, fault } = error;
  if (status === 404) return false;
  return fault === 'bad-response' || NO_RANGE.has(status);
}

/** What storage hosts answer that know no ranges, or not this one. */
const NO_RANGE: ReadonlySet<number> = new Set([400, 403, 405, 416, 501]);

/** Whole granules, those that touch together. */
function joined(ranges: readonly ByteRange[], size: number, position = 0): ByteRange[] {
  const found: ByteRange[] = [];
  const wanted = ranges
    .filter(({ end }) => end > position)
    .map(({ start, end }) => ({
      start: floor(Math.max(start, position)),
      end: Math.min(floor(end + GRANULE_BYTES - 1), size),
    }))
    .toSorted((one, other) => one.start - other.start);
  for (const { start, end } of wanted) {
    const last = found.at(-1);
    if (last && start <= last.end)
      found[found.length - 1] = { start: last.start, end: Math.max(end, last.end) };
    else found.push({ start, end });
  }
  return found;
}

function floor(position: number): number {
  return position - (position % GRANULE_BYTES);
}

class OneWish implements Wish {
  readonly ranges: readonly ByteRange[];
  /** One of them is read from its start on. */
  readonly isLong: boolean;
  /** What may be missing of short ones, in granules. */
  pending: ByteRange[] | undefined;
  readonly #moved: () => void;
  readonly #leave: () => void;
  #position: number;
  failure: unknown;

  constructor(
    ranges: readonly ByteRange[],
    { moved, leave }: { moved: () => void; leave: () => void },
  ) {
    this.ranges = ranges;
    this.isLong = ranges.some(({ start, end }) => end - start > PART_BYTES);
    this.#position = Math.min(...ranges.map(({ start }) => start));
    this.#moved = moved;
    this.#leave = leave;
  }

  get position(): number {
    return this.#position;
  }

  moveTo(position: number): void {
    this.#position = position;
    if (this.isLong) this.#moved();
  }

  /** Some of the range, or of a granule of it. */
  needs({ start, end }: ByteRange): boolean {
    return this.ranges.some(
      (range) => range.start < end && range.end > start && end > this.position,
    );
  }

  [Symbol.dispose](): void {
    this.#leave();
  }
}
