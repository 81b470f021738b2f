import type { SyncConfig } from '../config/sync-config.ts';
import { ConfigError } from '../config/config-error.ts';
import { loadConfig } from '../config/load.ts';
import { createLog, type Log } from '../observe/log.ts';
import { askAdmin, type Ask } from './admin-client.ts';
import type { CommandOptions } from './command-context.ts';
import { EXIT_CODE } from './outcome.ts';
import { StopSignals } from './stop-signals.ts';
import type { StoreContext } from './store-context.ts';
import { RemoteSync } from './sync-remote.ts';
import { TEXTS } from './texts.ts';

export interface SyncDaemonOptions extends CommandOptions {
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
  { log = createLog(), openSchedule = loadSchedule }: Partial<SyncDaemonParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  if (config.sync === undefined) {
    const problems = [TEXTS.nothingToRun];
    throw new ConfigError(problems, { ...(file !== undefined && { file }) });
  }
  using stop = new StopSignals(context.signals, () => context.exit(EXIT_CODE.interrupted));
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

/** Loaded only when it is wanted. */
async function loadSchedule(config: SyncConfig): Promise<Runs> {
  const { Schedule } = await import('../../sync/schedule.ts');
  return new Schedule(config);
}
