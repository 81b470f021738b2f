import { setImmediate as nextTurn } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import {
  Evictor,
  sumOf,
  type EvictionResult,
  type EvictorParts,
  type Shortage,
} from './evictor.ts';
import { TEXTS } from '../texts.ts';
import type { Pins } from './pins.ts';

export interface BudgetParts extends Omit<EvictorParts, 'stuck'> {
  readonly limits: { readonly maxBytes: number; readonly minFreeBytes: number };
  /** Told of each eviction that came to its end. */
  readonly ended: (result: EvictionResult) => void;
  /** Told why evicting beside the work came to nothing. */
  readonly failed: (error: unknown) => void;
}

/** The store has no room for a blob, and nothing that may be evicted would make enough. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError';

  /** With a cause: making room has failed. */
  constructor(bytes: number, options: { cause?: unknown } = {}) {
    const { cause } = options;
    const reason = cause instanceof Error ? cause.message : TEXTS.nothingToEvict;
    super(TEXTS.noRoom({ bytes, reason }), options);
  }
}

/** Of the budget: above the first, evicting begins beside the work; it ends below the second. */
const WATERMARK = { high: 0.98, low: 0.95 } as const;
/** A client has its headers meanwhile; after that it is served without being waited for. */
const PATIENCE_MS = 5_000;
/** How long the result of a walk in vain counts: pulls end and images age. */
const IN_VAIN_MS = 5_000;
/** The same after a file that could not be removed. */
const STUCK_MS = 10 * 60_000;

/** Keeps the store to its budget and the disk to its floor. One eviction at a time. */
export class Budget {
  readonly #parts: BudgetParts;
  readonly #catalog: Catalog;
  readonly #blobs: BlobStore;
  readonly #pins: Pins;
  readonly #evictor: Evictor;
  readonly #queue = new PQueue({ concurrency: 1 });
  #reserved = 0;
  #isAwake = false;
  /** Downloads that want room now; an eviction ahead of need makes way for them. */
  #waiting = 0;
  /** What could be freed when it was last not enough, until when, and under which pins. */
  #inVain = { freeableBytes: 0, until: 0, pins: -1 };
  #isClosing = false;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
    this.#catalog = parts.catalog;
    this.#blobs = parts.blobs;
    this.#pins = parts.pins;
    this.#evictor = new Evictor({ ...parts, stuck: () => this.#noteVain(0, STUCK_MS) });
  }

  /** Promised to running downloads. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /**
   * Sets bytes aside for a download, evicting images where that is needed; `undefined` when there is
   * no room even so. The caller disposes of the promise when the bytes are recorded. Rejects when
   * evicting fails.
   */
  async admit(
    bytes: number,
    { patienceMs = PATIENCE_MS }: { patienceMs?: number } = {},
  ): Promise<Disposable | undefined> {
    await this.#catalog.counted;
    const room = (await this.#reserve(bytes)) ?? (await this.#awaitRoom(bytes, patienceMs));
    if (room) this.wake();
    return room;
  }

  /** The room that is made after the caller's patience has ended is there for the next caller. */
  async #awaitRoom(bytes: number, patienceMs: number): Promise<Disposable | undefined> {
    if (bytes > this.#parts.limits.maxBytes || (await this.#isVain(bytes))) return undefined;
    this.#waiting += 1;
    const making = this.#queue
      .add(async () => this.#makeRoom(bytes))
      .finally(() => {
        this.#waiting -= 1;
      });
    const given = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => given.resolve(undefined), patienceMs);
    try {
      return await Promise.race([making, given.promise]);
    } finally {
      clearTimeout(timer);
      given.promise.then(
        async () => making.then((room) => room?.[Symbol.dispose]()).catch(this.#parts.failed),
        () => undefined,
      );
    }
  }

  async #makeRoom(bytes: number): Promise<Disposable | undefined> {
    const { bytes: short, reason } = await this.#shortage(bytes);
    if (short > 0 && !(await this.#isVain(bytes))) {
      const freeable = sumOf((await this.#evictor.plan(short)).images).bytes;
      if (freeable >= short) await this.#evict(short, reason);
      else {
        // Nothing is evicted for a download that has no room even then; the disk's floor is kept anyway.
        this.#noteVain(freeable);
        const floor = await this.#shortage(0);
        if (floor.bytes > 0) await this.#evict(floor.bytes, floor.reason);
      }
    }
    return this.#reserve(bytes);
  }

  /** Whether a walk over all images has just found less than these bytes take. */
  async #isVain(bytes: number): Promise<boolean> {
    const freeable = this.#freeableBytes;
    return freeable !== undefined && (await this.#shortage(bytes)).bytes > freeable;
  }

  /** `undefined` when it is not known, or not any more. */
  get #freeableBytes(): number | undefined {
    const { freeableBytes, until, pins } = this.#inVain;
    return pins === this.#pins.version && performance.now() < until ? freeableBytes : undefined;
  }

  #noteVain(freeableBytes: number, forMs = IN_VAIN_MS): void {
    this.#inVain = { freeableBytes, until: performance.now() + forMs, pins: this.#pins.version };
  }

  /** Nothing may be awaited between the look at what is free and the promise. */
  async #reserve(bytes: number): Promise<Disposable | undefined> {
    const free = await this.#freeBytes();
    if (this.#judge(bytes, free).bytes > 0) return undefined;
    this.#reserved += bytes;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#reserved -= bytes;
        isHeld = false;
      },
    };
  }

  /** Whether there is room for this many bytes without an eviction. */
  async hasRoom(bytes: number): Promise<boolean> {
    return (await this.#shortage(bytes)).bytes === 0;
  }

  /** Begins to evict when the store is above its high watermark. */
  wake(): void {
    const isVain = this.#freeableBytes !== undefined;
    if (this.#isAwake || this.#isClosing || isVain || !this.#isHigh) return;
    this.#isAwake = true;
    const work = async (): Promise<void> => {
      // The promise of a blob that was just recorded is given back by then, so that it is not counted twice.
      await nextTurn();
      if (!this.#isHigh) return;
      const wanted = this.#excess;
      const { images } = await this.#evict(wanted, 'budget', this.#isWanted);
      if (sumOf(images).bytes < wanted && !this.#isWanted()) this.#noteVain(0);
    };
    // What it could not do now is tried again with the next download.
    void this.#queue
      .add(work)
      .catch(this.#parts.failed)
      .finally(() => {
        this.#isAwake = false;
      });
  }

  /** Evicts this many bytes; without a figure, what is above the low watermark. */
  async evict(bytes?: number): Promise<EvictionResult> {
    await this.#catalog.counted;
    const wantedBytes = bytes ?? this.#excess;
    let images: EvictionResult['images'] = [];
    for (let left = wantedBytes; ;) {
      // Downloads that want room have their turn between.
      const part = await this.#queue.add(async () =>
        this.#evictor.evict(left, { reason: 'request', isOver: this.#isWanted }),
      );
      images = [...images, ...part.result.images];
      left -= sumOf(part.result.images).bytes;
      if (left > 0 && !part.isWhole) continue;
      const result = { wantedBytes, images, kept: part.result.kept };
      this.#parts.ended(result);
      return result;
    }
  }

  async #evict(
    wantedBytes: number,
    reason: Shortage,
    isOver?: () => boolean,
  ): Promise<EvictionResult> {
    const order = { reason, ...(isOver && { isOver }) };
    const { result } = await this.#evictor.evict(wantedBytes, order);
    this.#parts.ended(result);
    return result;
  }

  readonly #isWanted = (): boolean => this.#waiting > 0;

  /** What `evict` would do. */
  async plan(bytes?: number): Promise<EvictionResult> {
    return this.#evictor.plan(bytes ?? this.#excess);
  }

  /** Ends after the image that is being evicted. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#evictor.stop();
    await this.#queue.onIdle();
  }

  get #held(): number {
    return this.#catalog.usage.bytes + this.#reserved;
  }

  get #isHigh(): boolean {
    return this.#held > this.#parts.limits.maxBytes * WATERMARK.high;
  }

  /** Above the low watermark. */
  get #excess(): number {
    return Math.max(0, Math.ceil(this.#held - this.#parts.limits.maxBytes * WATERMARK.low));
  }

  async #freeBytes(): Promise<number> {
    return (await this.#blobs.folders.freeBytes()) ?? Infinity;
  }

  async #shortage(coming: number): Promise<{ bytes: number; reason: Shortage }> {
    return this.#judge(coming, await this.#freeBytes());
  }

  #judge(coming: number, free: number): { bytes: number; reason: Shortage } {
    const { limits } = this.#parts;
    const ofBudget = this.#held + coming - limits.maxBytes;
    const ofDisk = limits.minFreeBytes + this.#reserved + coming - free;
    return ofDisk > ofBudget
      ? { bytes: Math.max(0, ofDisk), reason: 'free-space' }
      : { bytes: Math.max(0, ofBudget), reason: 'budget' };
  }
}
