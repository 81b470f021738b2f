import { createLog, type Log } from '../../src/observe/log.ts';

type Line = Readonly<Record<string, unknown>>;

/** A log that tests read, one object a line. */
export class TestLog {
  readonly lines: Line[] = [];
  readonly logger: Log;
  readonly #watchers = new Set<() => void>();

  constructor(level: 'debug' | 'info' = 'debug') {
    this.logger = createLog({ level, destination: { write: (text) => this.#write(text) } });
  }

  /** Resolves once it has said this so many times. */
  async said(message: string, count = 1): Promise<void> {
    while (this.lines.filter(({ msg }) => msg === message).length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#watchers.add(resolve);
      await promise;
    }
  }

  #write(text: string): void {
    this.lines.push(JSON.parse(text) as Line);
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();
  }
}
