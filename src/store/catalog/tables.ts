import type { Pin } from '../../api/store-api.ts';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Level } from 'level';
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { FOLDER_MODE, look, openOwn, readOwn, writeOwn } from '../own-file.ts';
import { FORMAT, refuseOtherFormat } from '../format.ts';
import { TEXTS } from '../texts.ts';
import type { Finding } from './admission-facts.ts';
import { catalogMemory } from './catalog-memory.ts';
import type { BlobRecord, ManifestRecord, Members, PullTally, TagRecord } from './catalog.ts';

export interface TablesOptions {
  readonly durability: 'full' | 'rename';
  /** Its tables may be links to those of another database. */
  readonly isLinked?: boolean;
}

export type Batch = ReturnType<Level<string, unknown>['batch']>;

/**
 * The database behind the catalog. A key is made of parts joined by a space, which no name, tag or
 * digest contains; a target is `upstream/repository`, a unit `target digest` for a manifest or
 * `digest` for a blob that no manifest lists.
 *
 * | table     | key                        | value                                    |
 * | tags      | target tag                 | what it means, since when                |
 * | names     | target digest tag          | the way back from a manifest to its tags |
 * | manifests | target digest              | held as a manifest of this repository    |
 * | members   | digest                     | what a manifest lists, its subject       |
 * | blobs     | digest                     | the file is there                        |
 * | links     | digest target              | the upstream served it from there        |
 * | holders   | digest target manifest     | the manifest lists it, or is it          |
 * | referrers | target subject digest      | its descriptor                           |
 * | access    | unit                       | its last pull, milliseconds since 1970   |
 * | recency   | time unit                  | the units in the order of `access`       |
 * | pulls     | target digest              | how often clients fetched the manifest   |
 * | uses      | target digest              | a client asked for a blob of it          |
 * | pins      | origin image               | the pin                                  |
 * | lists     | target                     | its tags, as last told, in byte order    |
 * | listed    | target                     | since when, and how long that list is    |
 * | searched  | target digest              | all that is attached to it was asked for |
 * | sights    | target digest              | first seen when; of those not held       |
 * | exits     | slot                       | which of them left, one after the other  |
 * | admitted  | target tag                 | the digest last admitted by this tag     |
 * | admittedAs| target digest tag          | the way back                             |
 * | findings  | target digest name         | what judging it found out                |
 * | scans     | digest                     | what a scanner said of the manifest      |
 */
export class Tables {
  readonly db: Level<string, unknown>;
  readonly isSynced: boolean;
  /** The database was created by this opening. */
  isNew = false;
  readonly #path: string;
  readonly #all: { open(): Promise<void> }[] = [];
  #isStuck = false;
  #isClosed = false;
  readonly meta;
  readonly tags;
  readonly names;
  readonly manifests;
  readonly members;
  readonly blobs;
  readonly links;
  readonly holders;
  readonly referrers;
  readonly access;
  readonly recency;
  readonly pulls;
  readonly uses;
  readonly pins;
  readonly lists;
  readonly listed;
  readonly searched;
  readonly sights;
  readonly exits;
  readonly admitted;
  readonly admittedAs;
  readonly findings;
  readonly scans;

  /** Throws when another process has it open or a newer version wrote it. */
  static async open(path: string, options: TablesOptions): Promise<Tables> {
    await examineFiles(path, options);
    const db = new Level<string, unknown>(path, { valueEncoding: 'json', ...catalogMemory() });
    await openExclusively(db, path);
    try {
      return await Tables.#examine(db, path, options.durability);
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  static async #examine(
    db: Level<string, unknown>,
    path: string,
    durability: 'full' | 'rename',
  ): Promise<Tables> {
    const tables = new Tables(db, { path, isSynced: durability === 'full' });
    const format = await tables.meta.get(FORMAT_KEY);
    if (format === undefined) await tables.meta.put(FORMAT_KEY, FORMAT);
    else if (typeof format === 'number') refuseOtherFormat(path, format);
    else throw new Error(TEXTS.foreign({ path }));
    tables.isNew = format === undefined;
    return tables;
  }

  constructor(db: Level<string, unknown>, options: { path: string; isSynced: boolean }) {
    this.db = db;
    this.#path = options.path;
    this.isSynced = options.isSynced;
    this.meta = this.#table<number>('meta');
    this.tags = this.#table<TagRecord>('tags');
    this.names = this.#table<1>('names');
    this.manifests = this.#table<ManifestRecord>('manifests');
    this.members = this.#table<Members>('members');
    this.blobs = this.#table<BlobRecord>('blobs');
    this.links = this.#table<1>('links');
    this.holders = this.#table<1>('holders');
    this.referrers = this.#table<Descriptor>('referrers');
    this.access = this.#table<number>('access');
    this.recency = this.#table<1>('recency');
    this.pulls = this.#table<number>('pulls');
    this.uses = this.#table<1>('uses');
    this.pins = this.#table<Pin>('pins');
    this.lists = this.#table<readonly Tag[]>('lists');
    this.listed = this.#table<{ at: number; bytes: number }>('listed');
    this.searched = this.#table<1>('searched');
    this.sights = this.#table<{ at: number; slot: number }>('sights');
    this.exits = this.#table<string>('exits');
    this.admitted = this.#table<Digest>('admitted');
    this.admittedAs = this.#table<1>('admittedAs');
    this.findings = this.#table<{ turn: number; finding: Finding }>('findings');
    this.scans = this.#table<object>('scans');
  }

  #table<Value>(name: string) {
    const table = this.db.sublevel<string, Value>(name, { valueEncoding: 'json' });
    this.#all.push(table);
    return table;
  }

  /**
   * Writes a batch as a whole or not at all; with durability `full` it outlives a power loss. After a
   * failed write LevelDB refuses all others, also when the disk has room again, so the database is
   * reopened before the next one. Writes and the close come one at a time.
   */
  async write(fill: (batch: Batch) => void, options = { sync: this.isSynced }): Promise<void> {
    if (this.#isStuck && !this.#isClosed) await this.#reopen();
    try {
      const batch = this.db.batch();
      fill(batch);
      await batch.write(options);
    } catch (error) {
      this.#isStuck = true;
      throw error;
    }
  }

  /** On a full disk the reserve is used: evictions take a few writes before they free anything. */
  async #probe(): Promise<void> {
    try {
      await probe(`${this.#path}.probe`);
    } catch (error) {
      if (!(await Tables.useReserve(this.#path))) throw error;
      await probe(`${this.#path}.probe`);
    }
  }

  /** Sets a little of the disk aside, for evictions on a full one. A refusal is tried again later. */
  async keepReserve(): Promise<void> {
    const reserve = reserveOf(this.#path);
    if ((await lstat(reserve).catch(() => undefined))?.isFile()) return;
    await writeOwn(reserve, Buffer.alloc(RESERVE_BYTES, 1)).catch(async () =>
      rm(`${reserve}.new`, { force: true }),
    );
  }

  /** Gives the disk back what was set aside beside this database. False when nothing was. */
  static async useReserve(path: string): Promise<boolean> {
    return rm(reserveOf(path)).then(
      () => true,
      () => false,
    );
  }

  /** Reads fail for the moment of reopening. */
  async #reopen(): Promise<void> {
    if (this.db.status === 'open') {
      // A database that is closed and cannot be opened again could not even be read.
      await this.#probe();
      await this.db.close();
    }
    await this.db.open();
    for (const table of this.#all) await table.open();
    this.#isStuck = false;
  }

  /** Adds a unit's last pull to a batch, in place of an earlier one. */
  putAccess(batch: Batch, unit: string, at: number, earlier: number | undefined): void {
    const time = Math.max(0, Math.round(at));
    if (earlier !== undefined) {
      batch.del(recencyKey(earlier, unit), { sublevel: this.recency });
    }
    batch.put(unit, time, { sublevel: this.access });
    batch.put(recencyKey(time, unit), 1, { sublevel: this.recency });
  }

  /** Raises the last pulls of units that exist, and how many there were. Not synced: a loss costs no image. */
  async writePulls(pulls: ReadonlyMap<string, PullTally>): Promise<void> {
    const units = [...pulls.keys()];
    const [known, counts] = [await this.access.getMany(units), await this.pulls.getMany(units)];
    const put = (batch: Batch): void => {
      for (const [position, [unit, { at, count }]] of [...pulls].entries()) {
        const earlier = known[position];
        // The unit may have been evicted meanwhile.
        if (earlier === undefined) continue;
        if (earlier < at) this.putAccess(batch, unit, at, earlier);
        const sum = (counts[position] ?? 0) + count;
        if (count > 0) batch.put(unit, sum, { sublevel: this.pulls });
      }
    };
    await this.write(put, { sync: false });
  }

  /** Writes after it fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.db.close();
  }
}

/** The range of keys that continue a prefix: `!` is the character after the space. */
export function below(prefix: string): { gt: string; lt: string } {
  return { gt: `${prefix} `, lt: `${prefix}!` };
}

/**
 * The keys that continue a prefix, in byte order. Few of them cost one read of the database, where
 * `for await` over its own iterator costs two.
 */
export async function* keysBelow(
  table: { keys(range: ReturnType<typeof below>): Keys },
  prefix: string,
): AsyncGenerator<string> {
  const keys = table.keys(below(prefix));
  try {
    for (;;) {
      const page = await keys.nextv(PAGE);
      if (page.length === 0) return;
      yield* page;
    }
  } finally {
    await keys.close();
  }
}

interface Keys {
  nextv(size: number): Promise<string[]>;
  close(): Promise<void>;
}

/** Keys of one read. */
const PAGE = 100;

/** Milliseconds in a width that sorts until the year 10889. */
export function recencyKey(time: number, unit: string): string {
  return `${time.toString(16).padStart(12, '0')} ${unit}`;
}

/** Of a key of `recency`. */
export function recencyTime(key: string): number {
  return Number.parseInt(key.slice(0, key.indexOf(' ')), 16);
}

export function lastPart(key: string): string {
  return key.slice(key.lastIndexOf(' ') + 1);
}

export function tagOf(key: string): Tag {
  return lastPart(key) as Tag;
}

export function digestPart(key: string): Digest {
  return lastPart(key) as Digest;
}

/** In the meta table. */
const FORMAT_KEY = 'schema';
const PROBE_BYTES = 1024 * 1024;
const RESERVE_BYTES = 2 * PROBE_BYTES;

function reserveOf(path: string): string {
  return `${path}.reserve`;
}

/** Rejects as long as the disk does not take what reopening writes. */
async function probe(path: string): Promise<void> {
  try {
    await using file = await openOwn(path, 'replace');
    await file.writeFile(Buffer.alloc(PROBE_BYTES, 1));
    await file.sync();
  } finally {
    await rm(path, { force: true });
  }
}

async function openExclusively(db: Level<string, unknown>, path: string): Promise<void> {
  try {
    await db.open();
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'LEVEL_LOCKED') {
      const holder = (await readOwn(`${path}.holder`, 200)) ?? '';
      throw Object.assign(
        new Error(TEXTS.inUse({ path: dirname(path), holder }), { cause: error }),
        { code: 'STORE_IN_USE' },
      );
    }
    throw error;
  }
}

const MANIFEST = /^MANIFEST-\d+\n$/;

/**
 * Makes the database's folder, or throws an error that counts as damage when what stands there is
 * none: LevelDB follows links and believes `CURRENT` whatever it names. An empty `CURRENT` is
 * LevelDB's own to tell of.
 */
async function examineFiles(path: string, { isLinked = false }: TablesOptions): Promise<void> {
  const found = await look(path);
  if (!found) {
    await mkdir(path, { recursive: true, mode: FOLDER_MODE });
    return;
  }
  if (!found.isDirectory()) throw damaged(path);
  const entries = await readdir(path, { withFileTypes: true });
  const foreign = entries.find((entry) => !entry.isFile() && !(isLinked && entry.isSymbolicLink()));
  if (foreign) throw damaged(join(path, foreign.name));
  const current = await readOwn(join(path, 'CURRENT'), 100);
  if (current && !MANIFEST.test(current)) throw damaged(join(path, 'CURRENT'));
}

function damaged(path: string): Error {
  return new Error(TEXTS.foreign({ path }));
}
