import { kill, pid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { createLog, type Log } from '../observe/log.ts';
import {
  EXIT_CODE,
  StopSignals,
  type CommandContext,
  type CommandOptions,
} from './command-context.ts';
import { tellingWhy } from './start-failure.ts';
import { TEXTS } from './texts.ts';

/** What `serve` needs of the server; a test gives its own. */
export interface ServeParts {
  readonly log: Log;
  readonly start: (config: Config, options: { log: Log }) => Promise<Server>;
  /** Waits; rejects when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** Ends the process whatever it does. */
  readonly kill: () => void;
}

/** A shorter grace is for the clients; to close a sound store takes less than this on a busy machine. */
const LEAST_STOP_MS = 5_000;

interface Server {
  close(): Promise<void>;
}

/**
 * Runs until a signal; resolves with the exit code when everything is closed. What is not closed
 * within the grace, or 5 s where that is longer, is left as after a kill, which takes nothing that was
 * promised: a disk that no longer answers, or a catalog that is being made anew, holds up no stop.
 */
export async function serve(
  options: CommandOptions,
  context: CommandContext,
  {
    log = createLog(),
    start = startServer,
    wait = pause,
    kill = killSelf,
  }: Partial<ServeParts> = {},
): Promise<number> {
  const { config, warnings, file } = loadConfig({ file: options.config, ...context });
  using stop = new StopSignals(context.signals, () => context.exit(EXIT_CODE.interrupted));
  const stopMs = Math.max(config.graceMs, LEAST_STOP_MS);
  using _ = cutShort(stop.first, { ...context, wait, kill, stopMs });
  log.info({ file }, file === undefined ? 'starting on defaults' : 'starting');
  for (const warning of warnings) log.warn({ file }, warning);
  const server = await tellingWhy(async () => start(config, { log }), {
    ...config,
    uid: context.uid,
  });
  log.info({ signal: await stop.first }, 'stopping');
  await server.close();
  log.info('stopped');
  return EXIT_CODE.ok;
}

/** Ends the process so long after the signal, unless it is disposed of before. */
function cutShort(
  signalled: Promise<unknown>,
  {
    stderr,
    wait,
    kill,
    stopMs,
  }: Pick<ServeParts, 'wait' | 'kill'> &
    Pick<CommandContext, 'stderr'> & { readonly stopMs: number },
): Disposable {
  const ended = new AbortController();
  const late = (): void => {
    // Not by the log, which is written when the disk has time for it.
    stderr.write(`entrepot: ${TEXTS.stopCutShort({ seconds: stopMs / 1000 })}\n`);
    kill();
  };
  void signalled.then(async () => wait(stopMs, ended.signal)).then(late, () => undefined);
  return { [Symbol.dispose]: () => ended.abort() };
}

/** The server and its modules are loaded only when needed, so that `config check` starts in an instant. */
const startServer: ServeParts['start'] = async (config, options) => {
  const server = await import('../server.ts');
  return server.startServer(config, options);
};

const pause: ServeParts['wait'] = async (ms, signal) => sleep(ms, undefined, { signal });

/** By a signal that nothing holds up: `process.exit` waits for threads that wait for the disk. */
const killSelf: ServeParts['kill'] = () => void kill(pid, 'SIGKILL');
