import { pino, type Logger } from 'pino';

type Line = Readonly<Record<string, unknown>>;

/** A log that tests read, one object a line. */
export class TestLog {
  readonly lines: Line[] = [];
  readonly logger: Logger;
  readonly #watchers = new Set<() => void>();

  constructor(level: 'debug' | 'info' = 'debug') {
    this.logger = pino({ level, base: {} }, { write: (text: string) => this.#write(text) });
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
