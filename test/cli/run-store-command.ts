import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EventEmitter } from 'node:events';
import type { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { runCommand } from '../../src/cli/program.ts';
import type { StoreCommandParts } from '../../src/cli/command-context.ts';
import { Listener, type SocketPath } from '../../src/http/listener.ts';
import type { ListenConfig } from '../../src/config/config.ts';
import { createFolder } from '../config/config-folder.ts';
import { createFakeAdmin } from '../admin/fake-admin.ts';
import { NOON, type FakeStoreApi } from '../admin/fake-store-api.ts';
import { FakeSyncApi } from '../admin/fake-sync-api.ts';
import type { Result } from './run-main.ts';

// Ahead of the tests: what a command waits for has limits of time, and loading it would count.
const COMMANDS = join(import.meta.dirname, '..', '..', 'src', 'cli');
for (const file of readdirSync(COMMANDS)) await import(join(COMMANDS, file));

const LOG = pino({ level: 'silent' });

/** Nothing listens there, whatever else runs on the machine. */
export const NOWHERE = '127.0.0.1:0';

/** The admin application of this API, at an address or on a path. */
export async function serveAdmin(
  store: FakeStoreApi,
  place: ListenConfig | SocketPath = { host: '127.0.0.1', port: 0 },
  sync = new FakeSyncApi(),
): Promise<Listener> {
  const app = createFakeAdmin({ store, sync });
  return Listener.open(place, app.callback(), LOG);
}

export interface RunOptions {
  /** The `admin` of the configuration. */
  readonly admin?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly isTTY?: boolean;
  /** Of a terminal that progress is shown on. */
  readonly columns?: number;
  /** What is printed goes to a terminal of so many columns. */
  readonly printColumns?: number | undefined;
  /** Plain, where it says nothing else. */
  readonly env?: Readonly<Record<string, string>>;
  readonly parts?: Partial<StoreCommandParts>;
  readonly signals?: EventEmitter;
  readonly stdin?: () => Readable;
}

/** Runs a command in a fresh folder with `entrepot.yaml`, on Saturday noon. */
export async function runStoreCommand(
  t: ExecutionContext,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Result> {
  const { admin = NOWHERE, files = {}, isTTY = false, columns, printColumns } = options;
  const { parts = {}, signals, env = { NO_COLOR: '1' }, stdin } = options;
  const output = { stdout: '', stderr: '' };
  const yaml = `listen: 127.0.0.1:0\nadmin: ${admin}\nstore: { path: /srv/store }\n`;
  const context = {
    env,
    cwd: createFolder(t, { ...files, 'entrepot.yaml': yaml }),
    stdout: {
      ...(printColumns !== undefined && { isTTY: true, columns: printColumns }),
      write: (text: string) => (output.stdout += text),
    },
    stderr: {
      isTTY,
      ...(columns && { columns }),
      write: (text: string) => (output.stderr += text),
    },
    ...(stdin && { stdin }),
    signals: signals ?? new EventEmitter(),
    ...(stdin && { stdin }),
    kill: () => t.fail('the command must not end the process'),
  };
  const code = await runCommand(args, context, {
    openLog: () => LOG,
    now: () => NOON,
    pause: async () => t.fail('nothing to wait for'),
    startPrivateAdmin: async () => Promise.reject(new Error('the store must not be opened')),
    rebuildCatalog: async () => Promise.reject(new Error('the catalog must not be made anew')),
    ...parts,
  });
  return { code, ...output };
}

/** Stands in for the server's own: the same application on the socket of the command. */
export class PrivateAdmin {
  readonly store: FakeStoreApi;
  readonly sync: FakeSyncApi;
  /** What became of it, in order. */
  readonly events: string[] = [];
  folder = '';

  constructor(store: FakeStoreApi, sync = new FakeSyncApi()) {
    this.store = store;
    this.sync = sync;
  }

  readonly start: StoreCommandParts['startPrivateAdmin'] = async (config, path) => {
    this.folder = dirname(path);
    const mode = (statSync(this.folder).mode & 0o777).toString(8);
    this.events.push(`opened ${config.store.path} in a folder of mode ${mode}`);
    const listener = await serveAdmin(this.store, { path }, this.sync);
    return {
      isNew: false,
      close: async () => {
        await listener.close(0);
        // Who closes must find the folder.
        mkdirSync(`${this.folder}/closed`);
        rmSync(`${this.folder}/closed`, { recursive: true });
        this.events.push('closed');
      },
    };
  };
}

/** What is followed goes one step on whenever the command pauses, and time with it. */
export function stepwise<State extends object>(
  show: (state: State | Record<string, never>) => void,
  steps: readonly State[],
  stepMs = 500,
) {
  const rest = [...steps];
  const pauses: number[] = [];
  let now = NOON;
  const parts = {
    now: () => now,
    pause: async (milliseconds: number) => {
      pauses.push(milliseconds);
      now += stepMs;
      show(rest.shift() ?? {});
    },
  };
  return { parts, pauses };
}
