import type { CommandOptions, Output, StoreContext } from './command-context.ts';

const LINE_EVERY_MS = 10_000;
const TO_LINE_START = '\r\u001B[K';
const USUAL_COLUMNS = 80;
const [MIN_BAR, MAX_BAR] = [8, 30];

/**
 * How far something is: one line that is rewritten on a terminal, with a bar where it has room for
 * one, else a line every ten seconds.
 */
export class ProgressLine {
  readonly #output: Output;
  readonly #now: () => number;
  #shownAt: number;

  /** With JSON nothing but the document is printed. */
  static of({ json }: CommandOptions, { stderr, now }: Pick<StoreContext, 'stderr' | 'now'>) {
    return new ProgressLine(json ? { write: () => true } : stderr, now);
  }

  constructor(output: Output, now: () => number) {
    this.#output = output;
    this.#now = now;
    this.#shownAt = now();
  }

  /** `share`, from 0 to 1, is how much is done. */
  show(text: string, share?: number): void {
    if (this.#output.isTTY) {
      this.#output.write(`${TO_LINE_START}${this.#fit(text, share)}`);
    } else if (this.#now() - this.#shownAt >= LINE_EVERY_MS) {
      this.#shownAt = this.#now();
      this.#output.write(`${text}\n`);
    }
  }

  /** Leaves the terminal's line free for what follows. */
  end(): void {
    if (this.#output.isTTY) this.#output.write(TO_LINE_START);
  }

  /** A line that wraps could not be rewritten: the last column stays free, for the cursor. */
  #fit(text: string, share: number | undefined): string {
    const columns = (this.#output.columns || USUAL_COLUMNS) - 1;
    const room = Math.min(MAX_BAR, columns - text.length - '[] '.length);
    if (share === undefined || room < MIN_BAR) return text.slice(0, columns);
    const done = Math.floor(room * Math.min(1, Math.max(0, share)));
    return `[${'#'.repeat(done)}${'-'.repeat(room - done)}] ${text}`;
  }
}
