/**
 * The whole server in a process of its own, whose environment leads the clouds' libraries to a
 * test. Started by `CloudMirror`; the configuration comes as the first message.
 */
import { registerHooks } from 'node:module';
import type { Config } from '../../../src/config/config.ts';

export type ToChild = { config: Config } | { advanceMs: number } | { report: 'packages' };
export type FromChild =
  { ready: { url: string; adminUrl: string } } | { advanced: true } | { packages: string[] };

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
  } else tell({ packages: [...packages].toSorted() });
});

async function start(config: Config): Promise<void> {
  const { url, adminUrl } = await startServer(config, {
    clock: { wall: () => Date.now() + ahead, steady: () => performance.now() + ahead },
  });
  tell({ ready: { url, adminUrl } });
}
