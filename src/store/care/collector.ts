import { setImmediate as nextTurn } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { AccessTimes } from './access-times.ts';
import type { BlobStore } from '../files/blob-store.ts';
import { nodeOf, unitOf, type Catalog, type Evicted, type Node } from '../catalog/catalog.ts';
import { nameOf, type Collected, type Collection, type Kept, type Shortage } from './collection.ts';
import { Futility } from './futility.ts';
import type { Pins } from './pins.ts';
import { PART, Protection, PULLED } from './protection.ts';
import { removeFiles } from './remove-files.ts';
import { noStep, type Step } from '../step.ts';

export interface CollectorParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly access: AccessTimes;
  readonly limits: { readonly maxBytes: number; readonly minFreeBytes: number };
  readonly now: () => number;
  /** Told of each image whose bytes are freed. */
  readonly released: (image: Collected, reason: Shortage) => void;
  /** Told of each collection that came to its end. */
  readonly ended: (collection: Collection) => void;
  /** Told why collecting beside the work came to nothing. */
  readonly failed: (error: unknown) => void;
  readonly step?: Step;
}

interface Walked extends Collection {
  /** It came to the end of what there is, or of what was wanted. */
  readonly isWhole: boolean;
}

interface Walk {
  readonly evict: (unit: string) => Promise<Evicted>;
  readonly told?: (image: Collected) => void;
  /** Asked before each image. */
  readonly isOver?: () => boolean;
}

/** Of the budget: above the first, collecting begins beside the work; it ends below the second. */
const WATERMARK = { high: 0.98, low: 0.95 } as const;
const MAX_KEPT_TOLD = 1_000;
/** After a file that could not be removed. */
const UNREMOVABLE_MS = 10 * 60_000;
/** A client has its headers meanwhile; after that it is served without being waited for. */
const PATIENCE_MS = 5_000;

/**
 * Keeps the store to its budget and the disk to its floor. What goes is whole images, the one that
 * was not pulled for longest first, each with what it alone holds; never what is pinned, read or on
 * its way. It works through one image after the other beside the pulls, with a memory that does not
 * depend on the size of the store.
 */
export class Collector {
  readonly #parts: CollectorParts;
  readonly #step: Step;
  readonly #queue = new PQueue({ concurrency: 1 });
  #reserved = 0;
  #isAwake = false;
  /** Downloads that want room now; what is collected ahead of need makes way for them. */
  #waiting = 0;
  readonly #futility: Futility;
  #isClosing = false;

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#step = parts.step ?? noStep;
    this.#futility = new Futility(parts.pins);
  }

  /** Promised to running downloads. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /**
   * Sets bytes aside for a download, letting go of images where that is needed; `undefined` when
   * there is no room even so. The caller disposes of the promise when the bytes are recorded.
   * Rejects when the catalog cannot let go of anything.
   */
  async admit(
    bytes: number,
    { patienceMs = PATIENCE_MS }: { patienceMs?: number } = {},
  ): Promise<Disposable | undefined> {
    await this.#parts.catalog.counted;
    const room = (await this.#reserve(bytes)) ?? (await this.#awaitRoom(bytes, patienceMs));
    if (room) this.wake();
    return room;
  }

  /** What comes too late for this one is there for the next. */
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
      const freeable = await this.#freeable(short);
      if (freeable >= short) this.#tell(await this.#collect(short, reason));
      else {
        // Nothing goes for a download that has no room even then; the disk's floor is kept anyway.
        this.#futility.note(freeable);
        const floor = await this.#shortage(0);
        if (floor.bytes > 0) this.#tell(await this.#collect(floor.bytes, floor.reason));
      }
    }
    return this.#reserve(bytes);
  }

  /** A walk over all that is pinned has just found less than this takes. */
  async #isVain(bytes: number): Promise<boolean> {
    const freeable = this.#futility.freeableBytes;
    return freeable !== undefined && (await this.#shortage(bytes)).bytes > freeable;
  }

  async #freeable(wantedBytes: number): Promise<number> {
    const { images } = await this.plan(wantedBytes);
    return images.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** From the look at what is there to the promise nothing comes between. */
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

  /** Whether this many bytes would find room without anything going for them. */
  async hasRoom(bytes: number): Promise<boolean> {
    return (await this.#shortage(bytes)).bytes === 0;
  }

  /** Begins collecting when the store is above its high watermark. */
  wake(): void {
    const isVain = this.#futility.freeableBytes !== undefined;
    if (this.#isAwake || this.#isClosing || isVain || !this.#isHigh) return;
    this.#isAwake = true;
    const work = async (): Promise<void> => {
      // What was recorded a moment ago is promised no more by then, and not counted twice.
      await nextTurn();
      if (!this.#isHigh) return;
      const wanted = this.#excess;
      const { images } = this.#tell(await this.#collect(wanted, 'budget', this.#isWanted));
      const freed = images.reduce((sum, { bytes }) => sum + bytes, 0);
      const isOver = freed >= wanted || this.#isWanted();
      if (!isOver) this.#futility.note(0);
    };
    // What it could not do now is tried again with the next download.
    void this.#queue
      .add(work)
      .catch(this.#parts.failed)
      .finally(() => {
        this.#isAwake = false;
      });
  }

  /** Lets go of this many bytes; without a figure, of what is above the low watermark. */
  async collect(bytes?: number): Promise<Collection> {
    await this.#parts.catalog.counted;
    const wantedBytes = bytes ?? this.#excess;
    const images: Collected[] = [];
    for (let left = wantedBytes; ;) {
      // Downloads that want room have their turn between.
      const part = await this.#queue.add(async () =>
        this.#collect(left, 'request', this.#isWanted),
      );
      images.push(...part.images);
      left -= part.images.reduce((sum, image) => sum + image.bytes, 0);
      if (left <= 0 || part.isWhole) return this.#tell({ wantedBytes, images, kept: part.kept });
    }
  }

  #tell({ wantedBytes, images, kept }: Collection): Collection {
    const collection = { wantedBytes, images, kept };
    this.#parts.ended(collection);
    return collection;
  }

  readonly #isWanted = (): boolean => this.#waiting > 0;

  /** What `collect` would do. */
  async plan(bytes?: number): Promise<Collection> {
    const { wantedBytes, images, kept } = await this.#walk(bytes ?? this.#excess, {
      evict: this.#parts.catalog.planEvictions(),
    });
    return { wantedBytes, images, kept };
  }

  /** Ends after the image that is being let go of. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#queue.add(async () => undefined);
  }

  get #held(): number {
    return this.#parts.catalog.usage.bytes + this.#reserved;
  }

  get #isHigh(): boolean {
    return this.#held > this.#parts.limits.maxBytes * WATERMARK.high;
  }

  /** Above the low watermark. */
  get #excess(): number {
    return Math.max(0, Math.ceil(this.#held - this.#parts.limits.maxBytes * WATERMARK.low));
  }

  async #freeBytes(): Promise<number> {
    return (await this.#parts.blobs.freeBytes()) ?? Infinity;
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

  async #collect(
    wantedBytes: number,
    reason: Shortage,
    isOver: () => boolean = () => false,
  ): Promise<Walked> {
    const { catalog, released } = this.#parts;
    await catalog.counted;
    return this.#walk(wantedBytes, {
      evict: async (unit) => {
        const evicted = await catalog.evict(unit);
        this.#step('evict.released');
        const { freed, fault } = await removeFiles(this.#parts, evicted);
        // Evicting more would empty the catalog and not the disk.
        if (fault) this.#futility.note(0, UNREMOVABLE_MS);
        if (fault) throw fault;
        this.#step('evict.removed');
        await nextTurn();
        return freed;
      },
      told: (image) => released(image, reason),
      isOver,
    });
  }

  /** Units from the oldest on until enough is let go of. */
  async #walk(wantedBytes: number, { evict, told, isOver }: Walk): Promise<Walked> {
    const { catalog, access } = this.#parts;
    const images: Collected[] = [];
    const kept: Kept[] = [];
    // A catalog that takes no writes may still let images go.
    await access.flush().catch(() => undefined);
    const protection = await Protection.survey(this.#parts);
    const gone = new Set<string>();
    let freed = 0;
    for await (const oldest of catalog.oldest()) {
      // What an image leaves behind is no younger than the image, and its turn is at once.
      const due = [oldest];
      for (const { unit, time } of due) {
        const isWhole = freed >= wantedBytes || this.#isClosing;
        if (isWhole || isOver?.()) return { wantedBytes, images, kept, isWhole };
        // Pulled again, or gone with another one, since the walk began.
        if (gone.has(unit) || (await catalog.lastPull(unit)) !== time) continue;
        const why = await this.#whyKept(unit, { protection, gone });
        if (why !== undefined) {
          if (why !== PART && kept.length < MAX_KEPT_TOLD) kept.push({ ...nameOf(unit), why });
          continue;
        }
        const { tags, blobs, bytes, manifests, left } = await evict(unit);
        freed += bytes;
        const count = blobs.length;
        const image = { ...nameOf(unit), tags, lastPulledAt: time, blobs: count, bytes };
        images.push(image);
        told?.(image);
        for (const { target, digest } of manifests) gone.add(unitOf(target, digest));
        due.push(...(await this.#dueOf(left, time)));
      }
    }
    return { wantedBytes, images, kept, isWhole: true };
  }

  async #whyKept(
    unit: string,
    { protection, gone }: { protection: Protection; gone: ReadonlySet<string> },
  ): Promise<string | undefined> {
    const { catalog, access } = this.#parts;
    const why = await protection.reasonFor(unit, gone);
    const node = why === undefined ? nodeOf(unit) : undefined;
    if (!node) return why;
    // Pulled since the walk began; the catalog learns of it later.
    if (access.isNoted(node.target, await catalog.below(node))) return PULLED;
    const elsewhere = await protection.reasonElsewhere(node, gone);
    const isVain = elsewhere && (await catalog.planEvictions()(unit)).bytes === 0;
    return isVain ? elsewhere : undefined;
  }

  async #dueOf(left: readonly Node[], until: number): Promise<{ unit: string; time: number }[]> {
    const units = left.map(({ target, digest }) => unitOf(target, digest));
    const times = await this.#parts.catalog.lastPulls(units);
    return units
      .map((unit, position) => ({ unit, time: times[position] ?? 0 }))
      .filter(({ time }) => time <= until);
  }
}
