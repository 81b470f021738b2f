import { setTimeout } from 'node:timers/promises';
import type { RebuildReport } from '../api/store-api.ts';
import type { Config } from '../config/config.ts';
import { createLog, type Log } from '../observe/log.ts';
import type { CommandContext } from './command-context.ts';

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

/** The server and all it needs load only when it is wanted. */
async function loadServer(): Promise<Pick<StoreParts, 'startPrivateAdmin' | 'rebuildCatalog'>> {
  return import('../server.ts');
}
