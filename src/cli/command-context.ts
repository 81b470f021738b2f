import { setTimeout } from 'node:timers/promises';
import type { RebuildReport } from '../api/store-api.ts';
import type { Config } from '../config/config.ts';
import type { Environment } from '../config/source.ts';
import { createLog, type Log } from '../observe/log.ts';

/** All that a command may touch of the process it runs in. */
export interface CommandContext {
  readonly env: Environment;
  readonly cwd: string;
  /** Of the user that it runs as, where the system has such numbers. */
  readonly uid?: number | undefined;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly signals: Signals;
  /** Ends the process at once, whatever is open. */
  readonly exit: (code: number) => void;
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
export interface StoreParts {
  readonly openLog: () => Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Rejects when the signal aborts first. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<unknown>;
  /** Opens the store and serves its admin API on this socket until it is closed. */
  readonly startPrivateAdmin: (
    config: Config,
    socketPath: string,
    options: { log: Log },
  ) => Promise<{ close(): Promise<void> }>;
  /** Makes the catalog anew from the files of a store that nobody else has open. */
  readonly rebuildCatalog: (config: Config) => Promise<RebuildReport>;
}

export interface StoreContext extends CommandContext, StoreParts {}

export function createStoreContext(
  context: CommandContext,
  parts: Partial<StoreParts>,
): StoreContext {
  return { ...defaultParts(), ...parts, ...context };
}

function defaultParts(): StoreParts {
  return {
    // stdout is for what the command prints.
    openLog: () => createLog({ level: 'silent' }),
    now: Date.now,
    pause: async (milliseconds, signal) =>
      setTimeout(milliseconds, undefined, { ...(signal && { signal }) }),
    startPrivateAdmin: async (...args) => (await loadServer()).startPrivateAdmin(...args),
    rebuildCatalog: async (...args) => (await loadServer()).rebuildCatalog(...args),
  };
}

/** The server and its modules are loaded only when needed. */
async function loadServer(): Promise<Pick<StoreParts, 'startPrivateAdmin' | 'rebuildCatalog'>> {
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
  context: Pick<CommandContext, 'stdout'>,
  answer: { readonly document: unknown; readonly text: () => string },
): void {
  if (json) printJson(answer.document, context);
  else context.stdout.write(answer.text());
}

export function printJson(document: unknown, { stdout }: Pick<CommandContext, 'stdout'>): void {
  stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
}
