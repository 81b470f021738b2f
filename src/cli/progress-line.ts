import type { Output } from './command-context.ts';

const LINE_EVERY_MS = 10_000;
const TO_LINE_START = '\r\u001B[K';

/** How far something is: one line that is rewritten on a terminal, else a line every ten seconds. */
export class ProgressLine {
  readonly #output: Output;
  readonly #now: () => number;
  #shownAt: number;

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
    this.#shownAt = now();
  }

  show(text: string): void {
    if (this.#output.isTTY) {
      this.#output.write(`${TO_LINE_START}${text}`);
    } else if (this.#now() - this.#shownAt >= LINE_EVERY_MS) {
      this.#shownAt = this.#now();
      this.#output.write(`${text}\n`);
    }
  }

  /** Leaves the terminal's line free for what follows. */
  end(): void {
    if (this.#output.isTTY) this.#output.write(TO_LINE_START);
  }
}
