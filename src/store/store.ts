import type { Pin, RebuildReport, StoreSummary } from '../api/store-api.ts';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoreConfig } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { AccessTimes } from './care/access-times.ts';
import { BlobStore } from './files/blob-store.ts';
import type { Catalog, JournalEntry } from './catalog/catalog.ts';
import { Collector } from './care/collector.ts';
import { sumOf } from './care/collection.ts';
import { Health } from './care/health.ts';
import { Inventory } from './care/inventory.ts';
import { Journal } from './journal/journal.ts';
import { checkFormat, writeFormat } from './format.ts';
import { openCatalog } from './catalog/open-catalog.ts';
import { Pins } from './care/pins.ts';
import { finishRebuild, rebuildCatalog, type RebuildOptions } from './catalog/rebuild.ts';
import { Reconciler } from './care/reconciler.ts';
import { noStep, type Step } from './step.ts';

export interface StoreParts {
  readonly config: StoreConfig;
  /** Those of the configuration, with their registry. */
  readonly pins: readonly Pin[];
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  readonly step?: Step;
}

const FLUSH_MS = 10_000;
/** Room for this many tells that a store is full no more. */
const SOME_BYTES = 16 * 1024 * 1024;
const SETTLE_AGAIN_MS = 24 * 3_600_000;

/** All of a store, opened for this process alone. */
export class Store {
  readonly path: string;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly journal: Journal;
  readonly access: AccessTimes;
  readonly pins: Pins;
  readonly collector: Collector;
  readonly health: Health;
  readonly inventory: Inventory;
  lastCollection: StoreSummary['lastCollection'];
  readonly #parts: StoreParts;
  readonly #flushing: NodeJS.Timeout;
  #settleAgain: NodeJS.Timeout | undefined;
  readonly #stop = new AbortController();
  #settling: Promise<void> = Promise.resolve();

  /** Throws when another process has it. Asks the network nothing and reads no blob. */
  static async open(parts: StoreParts): Promise<Store> {
    const { config, log, now, step = noStep } = parts;
    await using undo = new AsyncDisposableStack();
    await checkFormat(config.path);
    const blobs = await BlobStore.open({ ...config, step });
    await finishRebuild(config.path);
    const health = new Health({ log, now });
    let journal: Journal | undefined;
    const catalog = undo.adopt(
      await openCatalog(config, {
        log,
        durability: config.durability,
        journal: (entries) => journal?.append(entries),
        unreadable: (err) => log.error({ err }, 'the catalog could not be read'),
        entries: () => readJournal(config.path),
        now,
        step,
      }),
      async (opened) => opened.close(),
    );
    // Whoever has the catalog has the store; what a killed process signed counts no more.
    await rm(`${join(config.path, 'catalog')}.holder`, { force: true });
    await writeFormat(config.path);
    await blobs.sweep();
    journal = undo.adopt(
      await Journal.open(join(config.path, 'journal'), { step }),
      async (opened) => opened.close(),
    );
    const pins = await Pins.open({ catalog, configured: parts.pins });
    undo.move();
    return new Store(parts, { blobs, catalog, journal, pins, health });
  }

  /**
   * Makes the catalog anew from files and journal. Throws when another process has the store, or a
   * newer version wrote it.
   */
  static async rebuild(options: Omit<RebuildOptions, 'entries'>): Promise<RebuildReport> {
    await checkFormat(options.path);
    return rebuildCatalog({ ...options, entries: () => readJournal(options.path) });
  }

  constructor(
    parts: StoreParts,
    opened: Pick<Store, 'blobs' | 'catalog' | 'journal' | 'pins' | 'health'>,
  ) {
    const { catalog, blobs, pins } = opened;
    const { config, now, metrics, log, step } = parts;
    this.#parts = parts;
    this.path = config.path;
    this.blobs = blobs;
    this.catalog = catalog;
    this.journal = opened.journal;
    this.pins = pins;
    this.health = opened.health;
    this.access = new AccessTimes({ catalog, now });
    this.inventory = new Inventory({ catalog, blobs, pins });
    this.collector = new Collector({
      catalog,
      blobs,
      pins,
      access: this.access,
      limits: config,
      now,
      released: (image, reason) => {
        metrics.evictedBytes.inc({ reason }, image.bytes);
        log.info({ ...image, reason }, 'evicted');
      },
      ended: (collection) => {
        const { images } = collection;
        if (images.length > 0) this.lastCollection = { at: now(), ...sumOf(images) };
      },
      failed: (err) => log.error({ err }, 'images could not be evicted'),
      ...(step && { step }),
    });
    this.#flushing = setInterval(() => void this.#flush(), FLUSH_MS).unref();
  }

  /** What the engine needs of it. */
  get parts(): Pick<Store, 'blobs' | 'catalog' | 'access' | 'collector' | 'health'> {
    const { blobs, catalog, access, collector, health } = this;
    return { blobs, catalog, access, collector, health };
  }

  /** Brings files and catalog together, beside the work: after the start, and then once a day. */
  settle(): void {
    this.#settleAgain = setTimeout(() => this.settle(), SETTLE_AGAIN_MS).unref();
    this.#settling = this.#reconcile().catch((err: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#parts.log.error({ err }, 'the store could not be reconciled');
    });
  }

  /** Resolves when `settle` is through. */
  get settled(): Promise<void> {
    return this.#settling;
  }

  /** Tells the next process that wants the store who has it. */
  async sign(text: string): Promise<void> {
    await writeFile(this.#signature, text).catch(() => undefined);
  }

  async close(): Promise<void> {
    clearInterval(this.#flushing);
    clearTimeout(this.#settleAgain);
    this.#stop.abort();
    await this.#settling;
    await this.collector.close();
    await this.#flush();
    await rm(this.#signature, { force: true }).catch(() => undefined);
    await this.catalog.close();
    await this.journal.close();
  }

  get #signature(): string {
    return join(this.path, 'catalog.holder');
  }

  async #flush(): Promise<void> {
    try {
      await this.access.flush();
      await this.catalog.keepReserve();
      // Where nothing new is pulled, only this tells that the disk takes writes again.
      if (await this.#takesAgain()) this.health.took();
    } catch (err) {
      this.#parts.log.error({ err }, 'access times could not be written');
    }
  }

  async #takesAgain(): Promise<boolean> {
    const { state } = this.health.condition;
    if (state === 'failing') return this.blobs.canWrite();
    return state === 'full' && this.collector.hasRoom(SOME_BYTES);
  }

  async #reconcile(): Promise<void> {
    const { blobs, catalog, journal } = this;
    const { now, log } = this.#parts;
    const reconciler = new Reconciler({
      blobs,
      catalog,
      isBusy: (digest) => blobs.isBusy(digest),
      now,
    });
    const done = await reconciler.run({ signal: this.#stop.signal });
    log.info(done, 'files and catalog compared');
    if (!done.isComplete) return;
    // A long one must not hold up the end; the next start does it again.
    const isAnew = await journal.compactFrom(catalog, this.#stop.signal);
    if (isAnew) log.info({ bytes: journal.size }, 'journal written anew');
    this.collector.wake();
  }
}

async function* readJournal(path: string): AsyncGenerator<JournalEntry> {
  const journal = await Journal.open(join(path, 'journal'));
  try {
    yield* journal.read();
  } finally {
    await journal.close();
  }
}
