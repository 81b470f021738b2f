import type { SyncRunState } from '../api/sync-api.ts';
import { ConfigError } from '../config/problems.ts';
import { loadConfig } from '../config/load.ts';
import type { SyncConfig } from '../config/sync-schema.ts';
import { createLog, logFormatOf, type Log } from '../observe/log.ts';
import { Backoff } from '../time/backoff.ts';
import { askAdmin, type Ask } from './admin-client.ts';
import { followRun } from './follow-run.ts';
import {
  AdminError,
  EXIT_CODE,
  StopSignals,
  type CommandOptions,
  type StoreContext,
} from './command-context.ts';
import { TEXTS } from './texts.ts';

const RUN_PATH = '/api/v1/sync/run';
const POLL_MS = 2_000;
const PAUSES = new Backoff({ firstMs: 1_000, maxMs: 60_000 });

interface SyncDaemonOptions extends CommandOptions {
  readonly server: URL;
}

/** What the daemon needs beside the process; a test gives its own. */
export interface SyncDaemonParts {
  readonly log: Log;
  readonly openSchedule: (config: SyncConfig) => Promise<Runs>;
}

/** Yields whenever a run is due, until the signal aborts; `since` is when the last one began. */
interface Runs {
  runs(signal: AbortSignal, since?: number): AsyncIterable<number>;
}

/**
 * Has a server elsewhere run by the schedule of this configuration, and logs each report, until a
 * signal. A run goes on without the daemon. What fell due while none was up begins at once.
 */
export async function syncDaemon(
  options: SyncDaemonOptions,
  context: StoreContext,
  { log: given, openSchedule = loadSchedule }: Partial<SyncDaemonParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  if (config.sync === undefined) {
    const problems = [TEXTS.nothingToRun];
    throw new ConfigError(problems, { ...(file !== undefined && { file }) });
  }
  const { level } = config.log;
  const log = given ?? createLog({ level, format: logFormatOf(context.stdout, context.env) });
  using stop = new StopSignals(context, config);
  const stopping = new AbortController();
  void stop.first.then((name) => stopping.abort(name));
  const { signal } = stopping;
  log.info({ file, server: options.server.href }, 'starting');
  for (const warning of warnings) log.warn({ file }, warning);
  const ask: Ask = async (path, request) =>
    askAdmin({ url: options.server }, path, { ...request, signal });
  const remote = new RemoteSync({ ask, log, signal, pause: context.pause });
  const schedule = await openSchedule(config.sync);
  try {
    const since = await remote.lastStart();
    for await (const _ of schedule.runs(signal, since)) await remote.run();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  log.info({ signal: signal.reason }, 'stopped');
  return EXIT_CODE.ok;
}

/** Loaded only when it is needed. */
async function loadSchedule(config: SyncConfig): Promise<Runs> {
  const { Schedule } = await import('../../sync/schedule.ts');
  return new Schedule(config);
}

interface RemoteSyncParts {
  readonly ask: Ask;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly pause: StoreContext['pause'];
}

/** The runs of a server that may be away for a while; every method rejects when the signal aborts. */
class RemoteSync {
  readonly #parts: RemoteSyncParts;
  /** Since something last went well. */
  #failures = 0;

  constructor(parts: RemoteSyncParts) {
    this.#parts = parts;
  }

  /** When the server last began a run; 0 when it never did. */
  async lastStart(): Promise<number> {
    const { running, last } = await this.#insist();
    return running?.startedAt ?? last?.startedAt ?? 0;
  }

  /** Has a run begun, or joins the one that runs, and logs its report; again when it is lost. */
  async run(): Promise<void> {
    const { log, pause, signal } = this.#parts;
    for (;;) {
      const report = await followRun({
        start: async () => this.#insist('POST'),
        look: async () => this.#insist(),
        wait: async () => pause(POLL_MS, signal),
      });
      if (report) {
        this.#failures = 0;
        const isOk = report.isOk && report.aborted === undefined;
        log[isOk ? 'info' : 'warn']({ report }, 'sync ended');
        return;
      }
      await this.#backOff(TEXTS.runLost);
    }
  }

  /** Asks until there is an answer. */
  async #insist(method: 'GET' | 'POST' = 'GET'): Promise<SyncRunState> {
    for (;;) {
      try {
        const state = (await this.#parts.ask(RUN_PATH, { method })) as SyncRunState;
        if (method === 'GET') this.#failures = 0;
        return state;
      } catch (error) {
        this.#parts.signal.throwIfAborted();
        if (!(error instanceof AdminError)) throw error;
        await this.#backOff(error.message);
      }
    }
  }

  async #backOff(reason: string): Promise<void> {
    const { log, pause, signal } = this.#parts;
    this.#failures += 1;
    const retryInMs = PAUSES.after(this.#failures);
    log.warn({ reason, retryInMs }, 'retrying');
    await pause(retryInMs, signal);
  }
}
