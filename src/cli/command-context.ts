import { setTimeout } from 'node:timers/promises';
import type { RebuildReport } from '../api/store-api.ts';
import type { Config } from '../config/config.ts';
import type { Environment } from '../config/source.ts';
import { createLog, type Log } from '../observe/log.ts';
import { hasColours, paint } from './colours.ts';
import { TEXTS } from './texts.ts';

/** All that a command may touch of the process it runs in. */
export interface CommandContext {
  readonly env: Environment;
  readonly cwd: string;
  /** Of the user that it runs as, where the system has such numbers. */
  readonly uid?: number | undefined;
  /** The version of Node. */
  readonly node?: string;
  /** Opened by who reads it. */
  readonly stdin?: () => AsyncIterable<Uint8Array>;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly signals: Signals;
  /**
   * Ends the process at once, as this signal ends one that does not listen for it: nothing that is open
   * or waits for a disk holds that up.
   */
  readonly kill: (signal: StopSignal | 'SIGKILL') => void;
  /** How a stop that takes long is waited for. The signal aborts when the command has ended; then it may reject. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<unknown>;
  /** Milliseconds by a clock that nobody sets. */
  readonly steady?: () => number;
}

export interface Output {
  /** A terminal, where a line can be rewritten. */
  readonly isTTY?: boolean;
  /** Of the terminal. */
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Signals {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** What the commands of the store need beside the process; a test gives its own. */
export interface StoreCommandParts {
  readonly openLog: () => Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Rejects when the signal aborts first. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<unknown>;
  /**
   * Opens the store and serves its admin API on this socket until it is closed. Where there is none,
   * it is made at `newStorePath`, or refused.
   */
  readonly startPrivateAdmin: (
    config: Config,
    socketPath: string,
    options: { log: Log; newStorePath?: string },
  ) => Promise<{ readonly isNew: boolean; close(): Promise<void> }>;
  /** Of the store of this configuration; `undefined` where there is none, or it cannot be read. */
  readonly readStoreId: (config: Config) => Promise<string | undefined>;
  /** Makes the catalog anew from the files of a store that nobody else has open. */
  readonly rebuildCatalog: (config: Config) => Promise<RebuildReport>;
}

export interface StoreContext extends CommandContext, StoreCommandParts {}

export function createStoreContext(
  context: CommandContext,
  parts: Partial<StoreCommandParts>,
): StoreContext {
  return { ...defaultParts(), ...parts, ...context };
}

function defaultParts(): StoreCommandParts {
  return {
    // stdout is for what the command prints.
    openLog: () => createLog({ level: 'silent' }),
    now: Date.now,
    pause: async (milliseconds, signal) =>
      setTimeout(milliseconds, undefined, { ...(signal && { signal }) }),
    startPrivateAdmin: async (...args) => (await loadServer()).startPrivateAdmin(...args),
    readStoreId: async (...args) => (await loadServer()).readStoreId(...args),
    rebuildCatalog: async (...args) => (await loadServer()).rebuildCatalog(...args),
  };
}

/** The server and its modules are loaded only when needed. */
async function loadServer(): Promise<
  Pick<StoreCommandParts, 'startPrivateAdmin' | 'readStoreId' | 'rebuildCatalog'>
> {
  return import('../server.ts');
}

/** What every command takes. */
export interface CommandOptions {
  readonly config?: string;
  readonly json?: boolean;
}

export const FILE_OPTION = [
  '-c, --config <file>',
  'configuration; else $ENTREPOT_CONFIG, else ./entrepot.yaml',
] as const;

export const JSON_OPTION = ['--json', 'print JSON'] as const;

/** The answer of a command: with `--json` its document, else the text for people. */
export function print(
  { json }: CommandOptions,
  context: Pick<CommandContext, 'stdout' | 'env'>,
  document: unknown,
  /** Given how wide the terminal is, where it is one. */
  text: (columns: number | undefined) => string,
): void {
  if (json) printJson(document, context);
  else printText(text(columnsOf(context.stdout)), context);
}

/** A text for people, in colours where the output shows them. */
export function printText(
  text: string,
  { stdout, env }: Pick<CommandContext, 'stdout' | 'env'>,
): void {
  stdout.write(hasColours(stdout, env) ? paint(text) : text);
}

/** How wide a terminal is; `undefined` for what is none, or does not say. */
export function columnsOf({ isTTY, columns }: Output): number | undefined {
  return isTTY && columns ? columns : undefined;
}

export function printJson(document: unknown, { stdout }: Pick<CommandContext, 'stdout'>): void {
  stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
}

const NAMES: readonly StopSignal[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/** A shorter grace is for the clients; to close a sound store takes less than this on a busy machine. */
const LEAST_STOP_MS = 5_000;

/**
 * One Ctrl-C comes twice where npm started the process: from the terminal, which tells all of a group,
 * and from npm, which passes it on. Nobody presses it again sooner than this.
 */
const ECHO_MS = 500;

type StopParts = Pick<CommandContext, 'signals' | 'stderr' | 'kill' | 'wait' | 'steady'>;

/**
 * The first signal asks for an orderly end; the second one, but its echo, no longer waits for it. What has not ended
 * within the grace, or 5 s where that is longer, is left as after a kill, which takes nothing that was
 * promised: a disk that no longer answers, or a catalog that is being made anew, holds up no stop.
 */
export class StopSignals implements Disposable {
  readonly first: Promise<StopSignal>;
  readonly #parts: StopParts;
  readonly #names: readonly StopSignal[];
  readonly #ended = new AbortController();
  readonly #listener: (signal: StopSignal) => void;

  constructor(
    parts: StopParts,
    { graceMs }: Pick<Config, 'graceMs'>,
    names: readonly StopSignal[] = NAMES,
  ) {
    this.#names = names;
    const { promise, resolve } = Promise.withResolvers<StopSignal>();
    const { kill, steady = () => performance.now() } = parts;
    let heard: { signal: StopSignal; at: number } | undefined;
    this.first = promise;
    this.#parts = parts;
    this.#listener = (signal) => {
      if (heard) {
        const isEcho = signal === heard.signal && steady() - heard.at < ECHO_MS;
        return isEcho ? undefined : kill(signal);
      }
      heard = { signal, at: steady() };
      resolve(signal);
      void this.#bound(Math.max(graceMs, LEAST_STOP_MS));
    };
    for (const name of names) parts.signals.on(name, this.#listener);
  }

  /** Ends the process so long after the signal, unless all has ended before. */
  async #bound(stopMs: number): Promise<void> {
    const { stderr, kill, wait = pause } = this.#parts;
    const isLate = wait(stopMs, this.#ended.signal).then(() => true);
    if (!(await isLate.catch(() => false))) return;
    // Not by the log, which is written when the disk has time for it.
    stderr.write(`entrepot: ${TEXTS.stopCutShort({ seconds: stopMs / 1000 })}\n`);
    kill('SIGKILL');
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
    for (const name of this.#names) this.#parts.signals.off(name, this.#listener);
  }
}

const pause: NonNullable<StopParts['wait']> = async (ms, signal) =>
  setTimeout(ms, undefined, { signal });

/** What a shell or a service manager learns; the numbers above 1 are those of sysexits. */
export const EXIT_CODE = {
  ok: 0,
  failed: 1,
  /** Of `sync plan`, as `diff` and `terraform plan -detailed-exitcode` count: something is to do. */
  pending: 2,
  /** The command line is wrong. */
  usage: 64,
  /** The configuration is wrong. */
  config: 78,
  /** Stopped by a signal before its orderly end. */
  interrupted: 130,
} as const;

/** The command cannot be carried out as it was given; the message says what to write. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A signal ended the command before it was done. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** The command got no good answer from the server or the store it is about; the message says why. */
export class AdminError extends Error {
  override readonly name = 'AdminError';
  /** Of the API's answer. */
  readonly status: number | undefined;
  /** Of the API's answer, where it is no text. */
  readonly detail: unknown;
  /** Nothing listens at the address. */
  readonly isUnserved: boolean;

  constructor(message: string, { cause, status, detail, isUnserved = false }: AdminFault = {}) {
    super(message, { cause });
    this.status = status;
    this.detail = detail;
    this.isUnserved = isUnserved;
  }
}

type AdminFault = Partial<Pick<AdminError, 'cause' | 'status' | 'detail' | 'isUnserved'>>;
