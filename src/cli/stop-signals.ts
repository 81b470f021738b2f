import type { Signals, StopSignal } from './command-context.ts';

const NAMES: readonly StopSignal[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/** The first signal asks for an orderly end; the second one no longer waits for it. */
export class StopSignals implements Disposable {
  readonly first: Promise<StopSignal>;
  readonly #signals: Signals;
  readonly #listener: (signal: StopSignal) => void;

  constructor(signals: Signals, onSecond: () => void) {
    const { promise, resolve } = Promise.withResolvers<StopSignal>();
    let count = 0;
    this.first = promise;
    this.#signals = signals;
    this.#listener = (signal) => {
      count += 1;
      if (count === 1) resolve(signal);
      else onSecond();
    };
    for (const name of NAMES) signals.on(name, this.#listener);
  }

  [Symbol.dispose](): void {
    for (const name of NAMES) this.#signals.off(name, this.#listener);
  }
}
