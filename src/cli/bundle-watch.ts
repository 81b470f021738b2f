import { stat } from 'node:fs/promises';
import type { BundlesReport, BundleState } from '../api/bundle-api.ts';
import type { Config } from '../config/config.ts';
import { createLog, logFormatOf } from '../observe/log.ts';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { HeadPool } from '../../sync/bundle/head-pool.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import {
  filesAt,
  inOrder,
  readSource,
  sourcesToSend,
  type BundleSource,
  type KnownSource,
} from './bundle-sources.ts';
import {
  AdminError,
  EXIT_CODE,
  StopSignals,
  UsageError,
  type StoreContext,
} from './command-context.ts';

export interface WatchParts {
  readonly config: Config;
  readonly context: StoreContext;
  readonly send: (ask: Ask, source: BundleSource) => Promise<BundleState>;
  /** Called when a bundle has come into force. */
  readonly writeReceipt: (ask: Ask) => Promise<void>;
}

/** The other end of a one-way link writes when it likes, and some file systems tell nobody. */
const LOOK_MS = 2_000;
/** What was refused, or could not be read or written, is tried again: what it lacked may have come. */
const AGAIN_MS = 60_000;

/**
 * Takes in whatever parts appear in a folder, until a signal: a file counts once its name has no dot in
 * front, ends in `.tar`, and it has the same size at two looks. It stays where it is. A part that is
 * refused holds up no other one, and a part that was taken in and is awaited again goes along with the next
 * one. Of each file its size and time are remembered while it is there, and its head until its bundle is in force.
 */
export async function watchFolder(folder: string, parts: WatchParts): Promise<number> {
  const { config, context } = parts;
  const { level } = config.log;
  const log = createLog({ level, format: logFormatOf(context.stdout, context.env) });
  using stop = new StopSignals(context, config);
  const stopping = new AbortController();
  void stop.first.then((name) => stopping.abort(name));
  log.info({ folder }, 'watching');
  const watcher = new Watcher(folder, { ...parts, log, signal: stopping.signal });
  while (!stopping.signal.aborted) {
    await watcher.look();
    await context.pause(LOOK_MS, stopping.signal).catch(() => undefined);
  }
  log.info({ signal: stopping.signal.reason }, 'stopped');
  return EXIT_CODE.ok;
}

interface WatcherParts extends WatchParts {
  readonly log: ReturnType<typeof createLog>;
  readonly signal: AbortSignal;
}

interface Seen {
  readonly stamp: string;
  /** When it is to be tried next, milliseconds since 1970; never, once it was taken in. */
  readonly dueAt: number;
  /** Read once; of a bundle that is in force nothing is kept. */
  readonly source?: KnownSource;
}

class Watcher {
  readonly #folder: string;
  readonly #parts: WatcherParts;
  #seen = new Map<string, Seen>();
  /** Why the last look came to nothing: it is told once. */
  #trouble: string | undefined;
  /** When what was not written of what is in force is to be tried again. */
  #receiptDueAt = Infinity;

  constructor(folder: string, parts: WatcherParts) {
    this.#folder = folder;
    this.#parts = parts;
  }

  /** Never rejects. */
  async look(): Promise<void> {
    const { config, context, log } = this.#parts;
    try {
      const due = await this.#findDue();
      if (due.length > 0 || this.#receiptDueAt <= context.now())
        await withAdmin(config, context, async (ask) => this.#bring(ask, due), 'make');
      this.#trouble = undefined;
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      const { message: reason } = error;
      if (reason !== this.#trouble) log.warn({ folder: this.#folder, reason }, 'could not look');
      this.#trouble = reason;
    }
  }

  /** Files that have come to rest and were not taken in. */
  async #findDue(): Promise<string[]> {
    const now = this.#parts.context.now();
    const seen = new Map<string, Seen>();
    const due: string[] = [];
    for (const path of await filesAt(this.#folder)) {
      const found = await stat(path).catch(() => undefined);
      if (!found?.isFile()) continue;
      const stamp = `${found.ino} ${found.size} ${found.mtimeMs}`;
      const before = this.#seen.get(path);
      const isAtRest = before?.stamp === stamp;
      if (isAtRest && before.dueAt <= now) due.push(path);
      seen.set(path, isAtRest ? before : { stamp, dueAt: 0 });
    }
    this.#seen = seen;
    return due;
  }

  async #bring(ask: Ask, due: readonly string[]): Promise<void> {
    const { context, signal } = this.#parts;
    await this.#readHeads(due);
    const report = (await ask('/api/v1/bundles')) as BundlesReport;
    for (const { id } of report.applied) this.#forget(id);
    const awaited = new Set(report.awaited.map(({ id }) => id));
    const isWanted = ({ name, head }: BundleSource): boolean =>
      !head ||
      due.includes(name) ||
      (awaited.has(head.id) && this.#seen.get(name)?.dueAt === Infinity);
    // The other parts of a bundle may serve to make a lost one.
    const wanted = sourcesToSend(inOrder(this.#sources), report).filter(isWanted);
    for (const source of wanted) {
      if (signal.aborted) return;
      if (await this.#take(ask, source)) await this.#writeReceipt(ask);
    }
    for (const path of due) this.#rest(path);
    if (this.#receiptDueAt <= context.now()) await this.#writeReceipt(ask);
  }

  get #sources(): KnownSource[] {
    return [...this.#seen.values()].flatMap(({ source }) => source ?? []);
  }

  async #readHeads(due: readonly string[]): Promise<void> {
    const { log, context } = this.#parts;
    const heads = new HeadPool();
    for (const { head } of this.#sources) heads.share(head);
    for (const path of due) {
      const seen = this.#seen.get(path);
      if (!seen || seen.source) continue;
      try {
        this.#seen.set(path, { ...seen, source: await readSource(path, heads) });
      } catch (error) {
        if (!(error instanceof AdminError)) throw error;
        log.warn({ path, reason: error.message }, 'no part of a bundle');
        const isForeign = error.cause instanceof BundleError;
        this.#note(path, isForeign ? Infinity : context.now() + AGAIN_MS);
      }
    }
  }

  /** Of a bundle that is in force. */
  #forget(id: string): void {
    for (const [path, { source, ...seen }] of this.#seen) {
      if (source?.head.id === id) this.#seen.set(path, seen);
    }
  }

  async #writeReceipt(ask: Ask): Promise<void> {
    const { log, context, writeReceipt } = this.#parts;
    try {
      await writeReceipt(ask);
      this.#receiptDueAt = Infinity;
    } catch (error) {
      if (!(error instanceof AdminError || error instanceof UsageError)) throw error;
      log.warn({ reason: error.message }, 'receipt not written');
      this.#receiptDueAt = context.now() + AGAIN_MS;
    }
  }

  async #take(ask: Ask, source: BundleSource): Promise<boolean> {
    const { log, context, send } = this.#parts;
    try {
      const { id, number, awaited, report } = await send(ask, source);
      const about = { path: source.name, id, number };
      if (report) log.info({ ...about, images: report.images }, 'bundle in force');
      else log.info({ ...about, awaited }, 'part taken in');
      for (const refused of report?.refused ?? []) {
        log.warn({ ...about, ...refused }, 'admission refuses an image of the bundle');
      }
      this.#note(source.name, Infinity);
      if (report) this.#forget(id);
      return report !== undefined;
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      log.warn({ path: source.name, reason: error.message }, 'part refused');
      this.#note(source.name, context.now() + AGAIN_MS);
      return false;
    }
  }

  /** What is neither refused nor unreadable is done with. */
  #rest(path: string): void {
    const { dueAt = Infinity } = this.#seen.get(path) ?? {};
    if (dueAt <= this.#parts.context.now()) this.#note(path, Infinity);
  }

  #note(path: string, dueAt: number): void {
    const seen = this.#seen.get(path);
    if (seen) this.#seen.set(path, { ...seen, dueAt });
  }
}
