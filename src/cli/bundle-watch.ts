import { stat } from 'node:fs/promises';
import type { BundlesReport, BundleState } from '../api/bundle-api.ts';
import type { Config } from '../config/config.ts';
import { createLog, logFormatOf } from '../observe/log.ts';
import { withAdmin, type Ask } from './admin-client.ts';
import { filesAt, findSources, sourcesToSend, type BundleSource } from './bundle-sources.ts';
import { AdminError, EXIT_CODE, StopSignals, type StoreContext } from './command-context.ts';

export interface WatchParts {
  readonly config: Config;
  readonly context: StoreContext;
  readonly send: (ask: Ask, source: BundleSource) => Promise<BundleState>;
  /** Called when a bundle has come into force. */
  readonly writeReceipt: (ask: Ask) => Promise<void>;
}

/** The other end of a one-way link writes when it likes, and some file systems tell nobody. */
const LOOK_MS = 2_000;
/** What was refused is tried again: what it lacked may have come. */
const AGAIN_MS = 60_000;

/**
 * Takes in whatever parts appear in a folder, until a signal: a file counts once its name has no dot in
 * front, ends in `.tar`, and it has the same size at two looks. It stays where it is. A part that is
 * refused holds up no other one. Of each file its size and time are remembered while it is there.
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
}

class Watcher {
  readonly #folder: string;
  readonly #parts: WatcherParts;
  #seen = new Map<string, Seen>();
  /** Why the last look came to nothing: it is told once. */
  #trouble: string | undefined;

  constructor(folder: string, parts: WatcherParts) {
    this.#folder = folder;
    this.#parts = parts;
  }

  /** Never rejects. */
  async look(): Promise<void> {
    const { config, context, log } = this.#parts;
    try {
      const due = await this.#findDue();
      if (due.length > 0)
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
    const { log, signal, writeReceipt } = this.#parts;
    // The other parts of a bundle may serve to make a lost one.
    const found = await findSources([...this.#seen.keys()], (path, { message: reason }) => {
      if (due.includes(path)) log.warn({ path, reason }, 'no part of a bundle');
    });
    const report = (await ask('/api/v1/bundles')) as BundlesReport;
    const applied = new Set(report.applied.map(({ id }) => id));
    const open = found.filter(({ head }) => head && !applied.has(head.id));
    const wanted = sourcesToSend(open, report).filter(
      ({ name, head }) => !head || due.includes(name),
    );
    for (const path of due) this.#note(path, Infinity);
    for (const source of wanted) {
      if (signal.aborted) return;
      const isInForce = await this.#take(ask, source);
      if (isInForce) await writeReceipt(ask);
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
      return report !== undefined;
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      log.warn({ path: source.name, reason: error.message }, 'part refused');
      this.#note(source.name, context.now() + AGAIN_MS);
      return false;
    }
  }

  #note(path: string, dueAt: number): void {
    const seen = this.#seen.get(path);
    if (seen) this.#seen.set(path, { ...seen, dueAt });
  }
}
