import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { EXIT_CODE, InterruptedError } from './outcome.ts';
import { explained } from './start-failure.ts';
import { StopSignals } from './stop-signals.ts';
import type { StoreContext } from './store-context.ts';
import { TEXTS } from './texts.ts';

/**
 * Runs with the path of a socket that only this user can reach, where this process answers for the
 * store; closes and removes it in any case, also after a signal.
 */
export async function withPrivateAdmin<T>(
  config: Config,
  context: StoreContext,
  run: (socketPath: string) => Promise<T>,
): Promise<T> {
  await using undo = new AsyncDisposableStack();
  using stop = new StopSignals(context.signals, () => context.exit(EXIT_CODE.interrupted));
  // Made with mode 0700: who may not enter cannot connect.
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-'));
  undo.defer(async () => rm(folder, { recursive: true, force: true }));
  const socketPath = join(folder, 'admin.sock');
  const { openLog, startPrivateAdmin } = context;
  const start = async () => startPrivateAdmin(config, socketPath, { log: openLog() });
  const admin = await explained(start, { ...config, uid: context.uid });
  undo.defer(async () => admin.close());
  const stopped = stop.first.then((signal) => {
    throw new InterruptedError(TEXTS.stoppedBy({ signal }));
  });
  return await Promise.race([run(socketPath), stopped]);
}
