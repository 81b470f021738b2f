import type { Config } from '../config/config.ts';
import { InterruptedError, StopSignals, type StoreContext } from './command-context.ts';
import { TEXTS } from './texts.ts';

/**
 * Runs what must end in order also after a signal, which aborts its signal: what it has begun is undone when
 * this rejects with an `InterruptedError`.
 */
export async function untilStopped<T>(
  config: Pick<Config, 'graceMs'>,
  context: StoreContext,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using stop = new StopSignals(context, config);
  const abort = new AbortController();
  const running = run(abort.signal);
  const stopped = stop.first.then((signal): never => {
    throw new InterruptedError(TEXTS.stoppedBy({ signal }));
  });
  try {
    return await Promise.race([running, stopped]);
  } catch (error) {
    abort.abort(error);
    await running.catch(() => undefined);
    throw error;
  }
}
