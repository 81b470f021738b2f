import { RE2JS, RE2JSException } from 're2js';
import { analyse } from 'scslre';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

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

const MAX_LENGTH = 500;
/**
 * Twice the size of a pattern for a sha256; matching 1,000 tags of full length takes about a
 * second.
 */
const MAX_SIZE = 200;
const LOOK_AROUND = /\(\?<?[=!]/;
const BACK_REFERENCE = /(?<!\\)(?:\\\\)*\\(?:[1-9]|k<)/;

/**
 * The pattern of a regular expression in RE2's syntax. RE2 matches any of them in linear time;
 * those that take exponential time in other engines are refused all the same, since other tools
 * read the same files. Throws a `ConfigError`.
 */
export function parseRegex(text: string): Pattern {
  if (text === '' || text.length > MAX_LENGTH) {
    throw new ConfigError([TEXTS.regexLength({ most: MAX_LENGTH })]);
  }
  const pattern = compile(text);
  if (pattern.size > MAX_SIZE) throw new ConfigError([TEXTS.regexTooLarge]);
  const part = findExponentialPart(text);
  if (part === undefined) return pattern;
  throw new ConfigError([TEXTS.regexCatastrophic({ part })]);
}

function compile(text: string): Pattern {
  try {
    return new Pattern(text);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new ConfigError([describeFault(text, error.message)], { cause: error });
  }
}

function describeFault(text: string, message: string): string {
  if (LOOK_AROUND.test(text)) return TEXTS.regexLookAround;
  if (BACK_REFERENCE.test(text)) return TEXTS.regexBackReference;
  const fault = message.replace(/^error parsing regexp: /, '').replace(/: `/, ' at `');
  return TEXTS.regexFault({ fault });
}

/** Expressions that only RE2 understands are not analysed. */
function findExponentialPart(text: string): string | undefined {
  const expression = toRegExp(text);
  if (!expression) return undefined;
  const { reports } = analyse(expression);
  const report = reports.find(({ exponential }) => exponential);
  if (!report) return undefined;
  return report.type === 'Trade' ? report.startQuant.raw : report.quant.raw;
}

function toRegExp(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined;
  }
}
