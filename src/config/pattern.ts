import { RE2JS } from 're2js';

const VERSION = 'version';

/**
 * A pattern over tags, repositories or images. RE2 never backtracks: the steps for a text are at
 * most its length times the size of the pattern. Throws a `RE2JSException` for what RE2 does not
 * know: look-around, back-references.
 */
export class Pattern {
  readonly #regex: RE2JS;
  readonly #hasVersion: boolean;

  constructor(expression: string) {
    this.#regex = RE2JS.compile(expression);
    this.#hasVersion = VERSION in this.#regex.namedGroups();
  }

  /** The most steps for one character of a text. */
  get size(): number {
    return this.#regex.programSize();
  }

  /** Anywhere in the text, unless the pattern has `^` and `$`. */
  matches(text: string): boolean {
    return this.#regex.test(text);
  }

  /**
   * What the group `version` caught; `undefined` when it caught nothing or the text does not match.
   */
  findVersion(text: string): string | undefined {
    if (!this.#hasVersion || !this.#regex.test(text)) return undefined;
    const matcher = this.#regex.matcher(text);
    return matcher.find() ? (matcher.group(VERSION) ?? undefined) : undefined;
  }
}
