import { RE2JS } from 're2js';

const VERSION = 'version';

/**
 * A pattern over tags or repositories. RE2 keeps all possible matches abreast and never goes back,
 * so that the steps for a text are at most its length times the size of the pattern, whatever the
 * pattern. Throws a `RE2JSException` for what RE2 does not know: look-around, back-references.
 */
export class Pattern {
  readonly #regex: RE2JS;
  readonly #hasVersion: boolean;

  constructor(expression: string) {
    this.#regex = RE2JS.compile(expression);
    this.#hasVersion = VERSION in this.#regex.namedGroups();
  }

  /** Instructions that one character of a text costs at most. */
  get size(): number {
    return this.#regex.programSize();
  }

  /** Anywhere in the text, unless the pattern has `^` and `$`. */
  matches(text: string): boolean {
    return this.#regex.test(text);
  }

  /** What the group `version` caught; `undefined` where it took no part, or nothing matches. */
  findVersion(text: string): string | undefined {
    if (!this.#hasVersion || !this.#regex.test(text)) return undefined;
    const matcher = this.#regex.matcher(text);
    return matcher.find() ? (matcher.group(VERSION) ?? undefined) : undefined;
  }
}
