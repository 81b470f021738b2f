/**
 * The whole server in a process of its own, whose environment leads the clouds' libraries to a
 * test. Started by `CloudMirror`; the configuration comes as the first message.
 */
import { registerHooks } from 'node:module';
import type { Config } from '../../../src/config/config.ts';
import type { RunningServer } from '../../../src/server.ts';

export type ToChild =
  { config: Config } | { advanceMs: number } | { report: 'packages' | 'closed' };
export type FromChild =
  | { ready: { url: string; adminUrl: string } }
  | { advanced: true }
  | { closed: true }
  | { packages: string[] };

const packages = new Set<string>();
registerHooks({
  load(url, context, nextLoad) {
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
    if (name !== undefined) packages.add(name);
    return nextLoad(url, context);
  },
});
// After the hook, so that it sees everything.
const { startServer } = await import('../../../src/server.ts');

let ahead = 0;
const tell = (message: FromChild): void => void process.send?.(message);
process.on('message', (message: ToChild) => {
  if ('config' in message) void start(message.config);
  else if ('advanceMs' in message) {
    ahead += message.advanceMs;
    tell({ advanced: true });
  } else if (message.report === 'closed') void close();
  else tell({ packages: [...packages].toSorted() });
});

let server: RunningServer | undefined;

async function close(): Promise<void> {
  await server?.close();
  tell({ closed: true });
}

async function start(config: Config): Promise<void> {
  server = await startServer(config, {
    clock: { wall: () => Date.now() + ahead, steady: () => performance.now() + ahead },
  });
  const { url, adminUrl } = server;
  tell({ ready: { url, adminUrl } });
}
