import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pin, RebuildReport } from '../api/store-api.ts';
import type { StoreConfig } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Care } from './care/care.ts';
import type { Catalog, JournalEntry } from './catalog/catalog.ts';
import { openCatalog } from './catalog/open-catalog.ts';
import { rebuildCatalog, type RebuildOptions } from './catalog/rebuild.ts';
import { BlobStore } from './files/blob-store.ts';
import { checkFormat, writeFormat } from './format.ts';
import { Journal } from './journal/journal.ts';
import { noStep, type Step } from './step.ts';

/*
 * A store is what a mirror keeps on its disk. It has four rooms, each with one facade, below which
 * nobody outside of it reaches:
 *
 *   files/    `BlobStore`: bytes by digest. A blob is there whole and verified, or it grows as an
 *             `Ingest`. Knows no names. Touches `blobs`, `ingest` and `quarantine`.
 *   catalog/  `Catalog`: what is known of the bytes: tags, manifests, which repository has what, last
 *             pulls, pins. An interface of facts; `LevelCatalog` keeps them in LevelDB, in `catalog`,
 *             and can be made anew from files and journal. Another database is another class.
 *   journal/  `Journal`: what the catalog knows and the files do not tell, one line a fact, for the
 *             day that the catalog is lost. Touches `journal`.
 *   care/     `Care`: what keeps all of it in order: the budget and its evictions, pins, last pulls,
 *             scrubbing, bringing files and catalog into agreement. Has no file of its own.
 *
 * Arrows point down:  store -> care -> journal -> catalog -> files.
 *
 * Bytes come first and facts second: a blob is recorded when its file is in place, and its file is
 * removed when its record is gone. So a crash leaves at most a file that nobody knows, which `Care`
 * finds. What is being read, written or recorded is leased at `BlobStore`, and is not evicted.
 *
 * Who may call what: the mirror and sync read and record through `BlobStore` and `Catalog`, ask
 * `care.budget` for room before they write, note pulls at `care.access` and tell `care.health` what
 * the disk refused; the admin API asks `care`; nobody outside sees the journal or the database.
 */

export type { Step } from './step.ts';

export interface StoreParts {
  readonly config: StoreConfig;
  /** Those of the configuration, with their registry. */
  readonly pins: readonly Pin[];
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  readonly step?: Step;
}

/** All of a store, opened for this process alone. */
export class Store {
  readonly path: string;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly journal: Journal;
  readonly care: Care;

  /** Throws when another process has it. Asks the network nothing and reads no blob. */
  static async open(parts: StoreParts): Promise<Store> {
    const { config, log, now, step = noStep } = parts;
    await using undo = new AsyncDisposableStack();
    await checkFormat(config.path);
    const blobs = await BlobStore.open({ ...config, step });
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
    await blobs.takeOver();
    journal = undo.adopt(
      await Journal.open(join(config.path, 'journal'), { step }),
      async (opened) => opened.close(),
    );
    const care = await Care.open({ ...parts, catalog, blobs, journal });
    undo.move();
    return new Store({ path: config.path, blobs, catalog, journal, care });
  }

  /**
   * Makes the catalog anew from files and journal. Throws when another process has the store, or a
   * newer version wrote it.
   */
  static async rebuild(options: Omit<RebuildOptions, 'entries'>): Promise<RebuildReport> {
    await checkFormat(options.path);
    return rebuildCatalog({ ...options, entries: () => readJournal(options.path) });
  }

  constructor(parts: Pick<Store, 'path' | 'blobs' | 'catalog' | 'journal' | 'care'>) {
    this.path = parts.path;
    this.blobs = parts.blobs;
    this.catalog = parts.catalog;
    this.journal = parts.journal;
    this.care = parts.care;
  }

  /** What the engine needs of it. */
  get parts(): Pick<Store, 'blobs' | 'catalog'> &
    Pick<Care, 'access' | 'budget' | 'health' | 'pins'> {
    const { access, budget, health, pins } = this.care;
    return { blobs: this.blobs, catalog: this.catalog, access, budget, health, pins };
  }

  /** Tells the next process that wants the store who has it. */
  async sign(text: string): Promise<void> {
    await writeFile(this.#signature, text).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.care.close();
    await rm(this.#signature, { force: true }).catch(() => undefined);
    await this.catalog.close();
    await this.journal.close();
  }

  get #signature(): string {
    return join(this.path, 'catalog.holder');
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
