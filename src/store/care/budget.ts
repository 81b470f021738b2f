import { setImmediate as nextTurn } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Digest } from '../../oci/digest.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import {
  Evictor,
  sumOf,
  type EvictionResult,
  type EvictorParts,
  type EvictionOptions,
  type Shortage,
} from './evictor.ts';
import { NoRoomError } from '../faults.ts';
import { Remover, type Hindrance, type NamedImage, type Removed } from './remover.ts';
import { Ledger, Room, type LedgerParts, type Limits } from './ledger.ts';
import type { Pins } from './pins.ts';

export interface BudgetParts extends Omit<EvictorParts, 'stuck'>, Pick<LedgerParts, 'otherBytes'> {
  readonly limits: Limits;
  /** Told of each eviction that came to its end. */
  readonly ended: (result: EvictionResult) => void;
  /** Told of partial and damaged files that were removed to make room. */
  readonly shed?: (removed: { files: number; bytes: number }) => void;
  /** Told why evicting beside the work came to nothing. */
  readonly failed: (error: unknown) => void;
}

export interface AdmitOptions {
  /** Bytes of it that are on the disk already. */
  readonly written?: number;
  /** Bytes of it that have come and are about to be written: room is made for them at once. */
  readonly received?: number;
  readonly patienceMs?: number;
}

/** A client has its headers meanwhile; after that it is served without being waited for. */
const PATIENCE_MS = 5_000;
/** The same in the middle of a transfer, which a new one would repeat. */
const STEP_PATIENCE_MS = 25_000;
/**
 * How far ahead of its bytes room is made for one blob, as a share of the store and in bytes: so much
 * is evicted for nothing at most when a transfer breaks off. Evicting takes a while, so not too little.
 */
const STEP = { share: 1 / 64, least: 1024 * 1024, most: 8 * 1024 * 1024 } as const;
/** How long the result of a walk in vain counts: pulls end and images age. */
const IN_VAIN_MS = 5_000;
/** The same after a file that could not be removed. */
const STUCK_MS = 10 * 60_000;
/** Partial files with holes that were used within this time go after images: their parts are read again. */
const WANTED_MS = 3_600_000;

/**
 * Keeps all that lies below the store's path to its budget, and the disk to its floor. Partial and
 * damaged files go first, then images, then partial files with holes that are in use. One eviction at a time.
 */
export class Budget {
  readonly #parts: BudgetParts;
  readonly #catalog: Catalog;
  readonly #blobs: BlobStore;
  readonly #pins: Pins;
  readonly #evictor: Evictor;
  readonly #remover: Remover;
  readonly #ledger: Ledger;
  #limits: Limits;
  readonly #queue = new PQueue({ concurrency: 1 });
  #isAwake = false;
  /** Downloads that want room now; an eviction ahead of need makes way for them. */
  #waiting = 0;
  /** What could be freed when it was last not enough, until when, and under which pins. */
  #inVain = { freeableBytes: 0, until: 0, pins: -1 };
  #isClosing = false;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
    this.#limits = parts.limits;
    this.#catalog = parts.catalog;
    this.#blobs = parts.blobs;
    this.#pins = parts.pins;
    this.#ledger = new Ledger({ ...parts, limits: () => this.#limits });
    this.#evictor = new Evictor({ ...parts, stuck: () => this.#noteVain(0, STUCK_MS) });
    this.#remover = new Remover({
      ...parts,
      release: async (...unit) => this.#evictor.release(...unit),
    });
  }

  /** These from now on: what was let in stays in, and what is above them is evicted beside the work. */
  configure(limits: Limits): void {
    this.#limits = limits;
    this.#inVain = { ...this.#inVain, until: 0 };
    this.wake();
  }

  /** The largest blob that is kept. */
  get #mostBytes(): number {
    return Math.floor(this.#limits.maxBytes * this.#limits.maxBlobShare);
  }

  /** Promised to running downloads. */
  get reservedBytes(): number {
    return this.#ledger.promisedBytes;
  }

  /**
   * Lets a blob into the store, which is disposed of when its bytes are recorded or given up. Nothing
   * is evicted before bytes come, but for `received`. Rejects with `NoRoomError` when it is too large,
   * or there is no room with everything evicted that may be, and as evicting does when that fails.
   */
  async admit(size: number | undefined, options: AdmitOptions = {}): Promise<Room> {
    const { written = 0, received = 0, patienceMs = PATIENCE_MS } = options;
    this.#blobs.requireWritable();
    await this.#catalog.counted;
    const room = new Room({
      size,
      written,
      mostBytes: this.#mostBytes,
      stepBytes: Math.max(STEP.least, Math.min(this.#limits.maxBytes * STEP.share, STEP.most)),
      grant: async (wanting, upTo) => this.#grant(wanting, upTo),
      end: (ended) => this.#ledger.delete(ended),
    });
    const upTo = written + received;
    this.requireSize(size ?? upTo);
    const isIn = (await this.#ledger.enter(room)) && (await this.#ledger.extend(room, upTo));
    if (!isIn) {
      const work = async (): Promise<void> => {
        if (!this.#ledger.has(room)) await this.#enterByPlan(room);
        await this.#makeRoom(room, upTo);
      };
      await this.#inTurn(room, { work, patienceMs });
    }
    this.wake();
    return room;
  }

  /** Makes room for more bytes of a blob that was let in. */
  async #grant(room: Room, upTo: number): Promise<void> {
    this.requireSize(room.size ?? upTo);
    if (await this.#ledger.extend(room, upTo)) return;
    const work = async (): Promise<void> => this.#makeRoom(room, upTo);
    await this.#inTurn(room, { work, patienceMs: STEP_PATIENCE_MS });
    this.wake();
  }

  /** Throws `NoRoomError` for a blob that is larger than one may be. */
  requireSize(bytes: number): void {
    const most = this.#mostBytes;
    if (bytes > this.#limits.maxBytes) throw new NoRoomError(bytes);
    if (bytes > most) throw new NoRoomError(bytes, { most });
  }

  /** Lets the blob in when enough may be evicted for all of it. */
  async #enterByPlan(room: Room): Promise<void> {
    if (!(await this.canHold(room.remainingBytes))) {
      // Nothing is evicted for a blob that has no room even then; the disk's floor is kept anyway.
      const deficit = await this.#ledger.deficit();
      if (deficit.bytes > 0) await this.#free(deficit);
      throw new NoRoomError(room.size ?? room.remainingBytes);
    }
    this.#ledger.add(room);
  }

  /** Makes room up to so many bytes of a blob that was let in. */
  async #makeRoom(room: Room, upTo: number): Promise<void> {
    const short = await this.#ledger.shortageOf(room, upTo);
    const lacking = short.bytes - this.#blobs.aside.idleBytes;
    const isVain = lacking > (this.#freeableBytes ?? Infinity);
    if (!isVain && short.bytes > 0 && (await this.#free(short)) < short.bytes) this.#noteVain(0);
    if (isVain || !(await this.#ledger.extend(room, upTo))) {
      throw new NoRoomError(room.size ?? upTo);
    }
  }

  /** Resolves with what was freed. */
  async #free({ bytes, reason }: { bytes: number; reason: Shortage }): Promise<number> {
    let freed = await this.#shed(bytes);
    if (freed < bytes && this.#freeableBytes !== 0) {
      freed += sumOf((await this.#evict(bytes - freed, { reason })).images).bytes;
    }
    if (freed < bytes) freed += await this.#shed(bytes - freed, { isLast: true });
    return freed;
  }

  get #unusedSince(): number {
    return this.#parts.now() - WANTED_MS;
  }

  /** `isLast`: also what is in use. */
  async #shed(bytes: number, { isLast = false } = {}): Promise<number> {
    if (this.#blobs.aside.idleBytes === 0) return 0;
    const unusedSince = isLast ? Infinity : this.#unusedSince;
    const removed = await this.#blobs.aside.shed(bytes, { unusedSince });
    if (removed.files > 0) this.#parts.shed?.(removed);
    return removed.bytes;
  }

  /**
   * Works when it is this blob's turn. After the patience the caller is refused; what is freed later
   * is there for the next one.
   */
  async #inTurn(
    room: Room,
    { work, patienceMs }: { work: () => Promise<void>; patienceMs: number },
  ): Promise<void> {
    const refusal = new NoRoomError(room.size ?? room.written + room.remainingBytes);
    this.#waiting += 1;
    const working = this.#queue.add(work).finally(() => {
      this.#waiting -= 1;
    });
    const given = Promise.withResolvers<void>();
    const timer = setTimeout(() => given.reject(refusal), patienceMs);
    try {
      await Promise.race([working, given.promise]);
    } catch (error) {
      // It may still be let in, after its caller has left.
      void working
        .catch((late: unknown) => {
          const isTold = late === error || late instanceof NoRoomError;
          if (!isTold) this.#parts.failed(late);
        })
        .then(() => room[Symbol.dispose]());
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** `undefined` when it is not known, or not any more. */
  get #freeableBytes(): number | undefined {
    const { freeableBytes, until, pins } = this.#inVain;
    return pins === this.#pins.version && performance.now() < until ? freeableBytes : undefined;
  }

  #noteVain(freeableBytes: number, forMs = IN_VAIN_MS): void {
    this.#inVain = { freeableBytes, until: performance.now() + forMs, pins: this.#pins.version };
  }

  /** Whether there is room for this many bytes without an eviction. */
  async hasRoom(bytes: number): Promise<boolean> {
    return (await this.#ledger.shortage(bytes)).bytes === 0;
  }

  /** Whether there is room for this many bytes, or would be with everything evicted that may be. */
  async canHold(bytes: number): Promise<boolean> {
    if (await this.hasRoom(bytes)) return true;
    const short = await this.#ledger.shortage(bytes);
    const lacking = short.bytes - this.#blobs.aside.idleBytes;
    if (lacking <= 0) return true;
    const known = this.#freeableBytes;
    const freeable = known ?? sumOf((await this.#evictor.plan(lacking)).images).bytes;
    if (freeable < lacking && known === undefined) this.#noteVain(freeable);
    return freeable >= lacking;
  }

  /** What must stay reaches above the high watermark: below the low one there would be room again. */
  async findCrowding(): Promise<NoRoomError | undefined> {
    await this.#catalog.counted;
    const { least, enough } = this.#ledger.marginOn(await this.#blobs.folders.freeBytes());
    const hasRoom = (await this.canHold(Math.ceil(least))) || this.#isClosing;
    return hasRoom ? undefined : new NoRoomError(Math.ceil(enough));
  }

  /** Begins to evict when the store is above its high watermark. */
  wake(): void {
    const isVain = this.#freeableBytes !== undefined;
    if (this.#blobs.isReadOnly) return;
    if (this.#isAwake || this.#isClosing || isVain || !this.#ledger.isHigh) return;
    this.#isAwake = true;
    const work = async (): Promise<void> => {
      // The promise of a blob that was just recorded is given back by then, so that it is not counted twice.
      await nextTurn();
      if (!this.#ledger.isHigh) return;
      await this.#shed(this.#ledger.excessBytes);
      const wanted = this.#ledger.excessBytes;
      if (wanted === 0) return;
      const { images } = await this.#evict(wanted, { reason: 'budget', isOver: this.#isWanted });
      const lacking = wanted - sumOf(images).bytes;
      if (lacking <= 0 || this.#isWanted()) return;
      if ((await this.#shed(lacking, { isLast: true })) < lacking) this.#noteVain(0);
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
    this.#blobs.requireWritable();
    await this.#catalog.counted;
    if (bytes === undefined) await this.#shed(this.#ledger.excessBytes);
    const wantedBytes = bytes ?? this.#ledger.excessBytes;
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

  async #evict(wantedBytes: number, options: EvictionOptions): Promise<EvictionResult> {
    const result = await this.#evictor.evictPlanned(wantedBytes, options);
    this.#parts.ended(result);
    return result;
  }

  readonly #isWanted = (): boolean => this.#waiting > 0;

  /** Evicts one image by its name, whatever its age; or only says what that would do. */
  async remove(image: NamedImage, { isPlan = false } = {}): Promise<Removed | Hindrance> {
    if (!isPlan) this.#blobs.requireWritable();
    await this.#catalog.counted;
    return this.#queue.add(async () => this.#remover.remove(image, { isPlan }));
  }

  /** Takes blobs out again that were let in for nothing: those that no manifest lists and nobody uses. */
  async discard(digests: readonly Digest[]): Promise<void> {
    for (const digest of digests) {
      await this.#queue.add(async () => {
        if (!this.#blobs.isBusy(digest)) await this.#evictor.release(digest);
      });
    }
  }

  /** What `evict` would do. */
  async plan(bytes?: number): Promise<EvictionResult> {
    return this.#evictor.plan(
      bytes ??
        Math.max(0, this.#ledger.excessBytes - this.#blobs.aside.unusedBytes(this.#unusedSince)),
    );
  }

  /** Ends after the image that is being evicted. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#evictor.stop();
    await this.#queue.onIdle();
  }
}
