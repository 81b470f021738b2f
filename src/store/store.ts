import { lstat, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pin, RebuildReport } from '../api/store-api.ts';
import type { StoreConfig } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Care } from './care/care.ts';
import type { Catalog, JournalEntry } from './catalog/catalog.ts';
import { openCatalog } from './catalog/open-catalog.ts';
import { rebuildFromFiles, type RebuildOptions } from './catalog/rebuild.ts';
import { BlobStore } from './files/blob-store.ts';
import { ForeignFileError, readOwn, writeOwn } from './own-file.ts';
import { checkFormat, readId, writeFormat } from './format.ts';
import { Journal } from './journal/journal.ts';
import { openInPlace, preparePlace } from './place.ts';
import { noCrashPoint, type CrashPoint } from './faults.ts';

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
 * Beside them stand what all four need: `own-file` opens files and follows nothing, `place` makes a
 * folder fit to hold a store, closes it to others, or finds how it can be served all the same.
 *
 * Bytes come first and facts second: a blob is recorded when its file is in place, and its file is
 * removed when its record is gone. So a crash leaves at most a file that nobody knows, which `Care`
 * finds. What is being read, written or recorded is leased at `BlobStore`, and is not evicted.
 *
 * Who may call what: the mirror and sync read and record through `BlobStore` and `Catalog`, ask
 * `care.budget` for room before they write, note pulls at `care.access` and tell `care.health` what
 * the disk refused; the admin API asks `care`; nobody outside sees the journal or the database.
 */

export { noCrashPoint, NoStoreError, type CrashPoint } from './faults.ts';

/** Of a key in PEM, which has some 240. */
const MAX_KEY_BYTES = 4096;
const KEY = /^-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+\n-----END PRIVATE KEY-----\n$/;

export interface StoreParts {
  readonly config: StoreConfig;
  /** Those of the configuration, with their registry. */
  readonly pins: readonly Pin[];
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
  readonly step?: CrashPoint;
}

/** All of a store, opened for this process alone. */
export class Store {
  readonly path: string;
  /** Absent where the disk did not take one. */
  readonly id: string | undefined;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly journal: Journal;
  readonly care: Care;
  readonly #root: string;

  /** Whether one was ever opened there, be it damaged; true also where that cannot be seen. */
  static async isAt(path: string): Promise<boolean> {
    const isThere = await Promise.all(
      ['format', 'blobs', 'catalog', 'journal'].map(async (name) =>
        lstat(join(path, name)).then(
          () => true,
          (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
        ),
      ),
    );
    return isThere.includes(true);
  }

  /** Of the store there, also while another process has it. */
  static async idAt(path: string): Promise<string | undefined> {
    return readId(path);
  }

  /** Throws when another process has it. Asks the network nothing and reads no blob. */
  static async open(parts: StoreParts): Promise<Store> {
    const { config, log, now, step = noCrashPoint } = parts;
    await using undo = new AsyncDisposableStack();
    const { path, durability } = config;
    await checkFormat(path);
    const blobs = new BlobStore({ path, durability, step, now });
    blobs.isReadOnly = !(await preparePlace(path, blobs));
    let journal: Journal | undefined;
    const { catalog, root } = await openInPlace(
      { path, blobs, log },
      async (at, isLinked = false) =>
        openCatalog({
          path,
          root: at,
          isLinked,
          durability,
          log,
          journal: (entries) => journal?.append(entries),
          unreadable: (err) => log.error({ err }, 'the catalog could not be read'),
          entries: () => Journal.read(join(path, 'journal')),
          ...(at === path && { discard: async (damaged) => blobs.putAside(damaged, 'catalog') }),
          now,
          step,
        }),
    );
    if (root !== path) undo.defer(async () => rm(root, { recursive: true, force: true }));
    undo.adopt(catalog, async (opened) => opened.close());
    // Whoever has the catalog has the store; what a killed process signed counts no more.
    await rm(signatureOf(path), { force: true }).catch(() => undefined);
    const id = await writeFormat(path);
    await blobs.takeOver();
    journal = undo.adopt(
      await openJournal(join(root, 'journal'), { blobs, isSynced: durability === 'full', step }),
      async (opened) => opened.close(),
    );
    const care = await Care.open({ ...parts, catalog, blobs, journal });
    undo.move();
    return new Store({ path, id, root, blobs, catalog, journal, care });
  }

  /**
   * Makes the catalog anew from files and journal. Throws when another process has the store, or a
   * newer version wrote it.
   */
  static async rebuild(options: Omit<RebuildOptions, 'entries'>): Promise<RebuildReport> {
    await checkFormat(options.path);
    const entries = (): AsyncGenerator<JournalEntry> => Journal.read(join(options.path, 'journal'));
    return rebuildFromFiles({ ...options, entries });
  }

  constructor(
    parts: Pick<Store, 'path' | 'id' | 'blobs' | 'catalog' | 'journal' | 'care'> & Rooted,
  ) {
    this.path = parts.path;
    this.id = parts.id;
    this.#root = parts.root;
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

  /**
   * The private key of the site, in PKCS#8 in PEM, by which what it says of itself is known as its own.
   * Made where there is none, by one caller at a time; `undefined` where the disk did not take one.
   */
  async key(make: () => string): Promise<string | undefined> {
    const path = join(this.path, 'site.key');
    const known = await readOwn(path, MAX_KEY_BYTES);
    if (known !== undefined && KEY.test(known)) return known;
    if (this.blobs.isReadOnly) return undefined;
    const made = make();
    return writeOwn(path, made).then(
      () => made,
      () => undefined,
    );
  }

  /** Tells the next process that wants the store who has it. */
  async sign(text: string): Promise<void> {
    if (this.blobs.isReadOnly) return;
    await writeOwn(signatureOf(this.path), text).catch(() => undefined);
  }

  /** Each part is closed also when another one fails; what was promised goes to the disk first. */
  async close(): Promise<void> {
    await using parts = new AsyncDisposableStack();
    if (this.#root !== this.path) {
      parts.defer(async () => rm(this.#root, { recursive: true, force: true }));
    }
    parts.defer(async () => this.journal.close());
    parts.defer(async () => this.catalog.close());
    parts.defer(async () => rm(signatureOf(this.path), { force: true }).catch(() => undefined));
    parts.defer(async () => this.care.close());
    parts.defer(async () => this.blobs.close());
    await this.journal.idle();
  }
}

interface Rooted {
  /** The folder of catalog and journal. */
  readonly root: string;
}

function signatureOf(path: string): string {
  return join(path, 'catalog.holder');
}

/** A link or a folder in its place is put aside, itself and not what it leads to. */
async function openJournal(
  path: string,
  { blobs, ...options }: { blobs: BlobStore; isSynced: boolean; step: CrashPoint },
): Promise<Journal> {
  try {
    return await Journal.open(path, options);
  } catch (error) {
    if (!(error instanceof ForeignFileError)) throw error;
    await blobs.putAside(path, 'journal');
    return Journal.open(path, options);
  }
}
