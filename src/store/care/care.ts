import { setTimeout as sleep } from 'node:timers/promises';
import type { Pin, StoreSummary } from '../../api/store-api.ts';
import type { StoreConfig } from '../../config/config.ts';
import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import type { Journal } from '../journal/journal.ts';
import { NoRoomError, ReadOnlyError, type CrashPoint } from '../faults.ts';
import { AccessTimes } from './access-times.ts';
import { Budget } from './budget.ts';
import { sumOf } from './evictor.ts';
import { Health } from './health.ts';
import { Inventory } from './inventory.ts';
import { Pins } from './pins.ts';
import { Reconciler } from './reconciler.ts';

export type { AccessTimes } from './access-times.ts';
export type { Budget } from './budget.ts';
export { sumOf, type EvictionResult } from './evictor.ts';
export type { Health } from './health.ts';
export { InUseFile } from './in-use-file.ts';
export { faultOf, NoRoomError } from '../faults.ts';
export type { Pins } from './pins.ts';
export type { Room } from './ledger.ts';
export { Scrubber } from './scrubber.ts';

export interface CareParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly journal: Journal;
  readonly config: StoreConfig;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly step?: CrashPoint;
}

const FLUSH_MS = 10_000;
const RECONCILE_AGAIN_MS = 24 * 3_600_000;
/** A start waits this long for the size of what lies beside the blobs; the rest is found beside the work. */
const MEASURED_MS = 1_000;
/** Measuring takes this share of the time at most, however many files are none of the store's. */
const MEASURING_SHARE = 0.05;

/** What keeps a store within its budget, its pins held, and its files and catalog in agreement. */
export class Care {
  readonly access: AccessTimes;
  readonly budget: Budget;
  readonly health: Health;
  readonly inventory: Inventory;
  readonly pins: Pins;
  lastCollection: StoreSummary['lastCollection'];
  /** Bytes of catalog, journal and all else beside the blobs, as last measured. */
  otherBytes = 0;
  /** Bytes of files among the blobs that are no blobs. */
  #foreignBytes = 0;
  #measuring: Promise<void> | undefined;
  /** On the steady clock; not before it is measured again. */
  #measureAt = 0;
  #isMostlyOther = false;
  readonly #parts: CareParts;
  #config: StoreConfig;
  readonly #flushing: NodeJS.Timeout;
  #settleAgain: NodeJS.Timeout | undefined;
  readonly #stop = new AbortController();
  #settling: Promise<void> = Promise.resolve();
  /** The version of the pins that were last checked for whether they leave room. */
  #lookedAtPins = -1;
  #looking: Promise<void> = Promise.resolve();

  /** `pins`: those of the configuration, which stand beside those that the catalog keeps. */
  static async open({ pins, ...parts }: CareParts & { pins: readonly Pin[] }): Promise<Care> {
    const { catalog } = parts;
    const care = new Care(parts, await Pins.open({ catalog, configured: pins }));
    const refusedBytes = await catalog.findFigure('refused');
    if (refusedBytes) care.health.refused(new NoRoomError(refusedBytes));
    await Promise.race([care.#measure(), sleep(MEASURED_MS, undefined, { ref: false })]);
    return care;
  }

  constructor(parts: CareParts, pins: Pins) {
    const { catalog, blobs, config, metrics, log, now, step } = parts;
    this.#parts = parts;
    this.#config = config;
    this.pins = pins;
    this.health = new Health({
      log,
      now,
      keep: (bytes) => void this.health.recorded(catalog.recordFigure('refused', bytes)),
    });
    if (blobs.isReadOnly) this.health.refused(new ReadOnlyError(config.path));
    this.access = new AccessTimes({ catalog, now });
    this.inventory = new Inventory({ catalog, blobs, pins, now });
    this.budget = new Budget({
      catalog,
      blobs,
      pins,
      access: this.access,
      limits: config,
      otherBytes: () => this.otherBytes + this.#foreignBytes,
      now,
      evicted: (image, reason) => {
        metrics.store.evictedBytes.inc({ reason }, image.bytes);
        metrics.store.evictedImages.inc({ reason }, image.image === '' ? 0 : 1);
        log.info({ ...image, reason }, 'evicted');
      },
      ended: ({ images }) => {
        if (images.length > 0) this.lastCollection = { at: now(), ...sumOf(images) };
      },
      shed: (removed) => log.info(removed, 'partial and damaged files made room'),
      failed: (err) => log.error({ err }, 'images could not be evicted'),
      ...(step && { step }),
    });
    this.#flushing = setInterval(() => void this.#flush(), FLUSH_MS).unref();
  }

  /** Limits and pins of the configuration, from now on. */
  configure(config: StoreConfig, pins: readonly Pin[]): void {
    this.#config = config;
    this.pins.configure(pins);
    this.budget.configure(config);
    this.#lookedAtPins = -1;
    if (!this.#parts.blobs.isReadOnly) this.#lookForRoom();
  }

  /** Where the bytes below the store's path are, by their state. */
  get bytes(): Readonly<Record<string, number>> {
    const { catalog, blobs } = this.#parts;
    return {
      used: catalog.usage.bytes,
      reserved: this.budget.reservedBytes,
      partial: blobs.aside.amountOf('ingest').bytes,
      quarantined: blobs.aside.amountOf('quarantine').bytes,
      other: this.otherBytes + this.#foreignBytes,
    };
  }

  /** Brings files and catalog together, beside the work: after the start, and then once a day. */
  settle(): void {
    if (this.#parts.blobs.isReadOnly) return;
    this.#settleAgain = setTimeout(() => this.settle(), RECONCILE_AGAIN_MS).unref();
    this.#lookForRoom();
    this.#settling = this.#reconcile().catch((err: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#parts.log.error({ err }, 'the store could not be reconciled');
    });
  }

  /** Resolves when `settle` is through. */
  get settled(): Promise<void> {
    return Promise.all([this.#settling, this.#looking]).then(() => undefined);
  }

  /** A store that pins have filled says so before something finds no room. */
  #lookForRoom(): void {
    const { version } = this.pins;
    if (this.#lookedAtPins === version) return;
    this.#lookedAtPins = version;
    const looking = this.budget.findCrowding().then((found) => found && this.health.refused(found));
    this.#looking = looking.catch((err: unknown) => {
      this.#parts.log.error({ err }, 'the room beside the pins could not be found out');
    });
  }

  /** While files, catalog and journal are still open. */
  async close(): Promise<void> {
    clearInterval(this.#flushing);
    clearTimeout(this.#settleAgain);
    this.#stop.abort();
    await this.#settling;
    await this.#measuring?.catch(() => undefined);
    await this.budget.close();
    await this.#looking;
    await this.#flush();
  }

  /** One at a time; what was found counts at once where it is more than before. */
  async #measure(): Promise<void> {
    if (performance.now() < this.#measureAt) return;
    this.#measuring ??= this.#measureAll().finally(() => (this.#measuring = undefined));
    return this.#measuring;
  }

  async #measureAll(): Promise<void> {
    const startedAt = performance.now();
    let bytes = 0;
    for await (const size of this.#parts.blobs.folders.otherSizes()) {
      if (this.#stop.signal.aborted) return;
      bytes += size;
      this.otherBytes = Math.max(this.otherBytes, bytes);
    }
    this.otherBytes = bytes;
    const now = performance.now();
    this.#measureAt = now + (now - startedAt) / MEASURING_SHARE;
    const { log } = this.#parts;
    const { maxBytes } = this.#config;
    const isMostlyOther = bytes + this.#foreignBytes > maxBytes / 2;
    if (isMostlyOther && !this.#isMostlyOther) {
      log.warn({ bytes, maxBytes }, 'most of the store is taken by other files');
    }
    this.#isMostlyOther = isMostlyOther;
  }

  async #flush(): Promise<void> {
    try {
      void this.#measure().catch(() => undefined);
      await this.access.flush();
      if (this.#parts.blobs.isReadOnly) return;
      await this.#parts.catalog.keepReserve();
      this.#lookForRoom();
      // Where nothing new is pulled, only this finds out that the disk takes writes again.
      if (await this.#takesAgain()) this.health.takesAgain();
    } catch (err) {
      this.#parts.log.error({ err }, 'access times could not be written');
    }
  }

  async #takesAgain(): Promise<boolean> {
    const { state } = this.health.condition;
    if (state === 'failing') return this.#parts.blobs.folders.canWrite();
    const { wantedBytes } = this.health;
    return state === 'full' && wantedBytes !== undefined && this.budget.canHold(wantedBytes);
  }

  async #reconcile(): Promise<void> {
    const { catalog, journal, log } = this.#parts;
    const { signal } = this.#stop;
    const done = await new Reconciler(this.#parts).run({ signal });
    log.info(done, 'files and catalog compared');
    if (!done.isComplete) return;
    this.#foreignBytes = done.foreignBytes;
    // The signal ends a long compaction at the close; the next start does it again.
    const isAnew = await journal.compactFrom(catalog, signal);
    if (isAnew) log.info({ bytes: journal.size }, 'journal written anew');
    this.budget.wake();
  }
}
