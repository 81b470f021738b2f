import { RE2JSException } from 're2js';
import { analyse } from 'scslre';
import { ConfigError } from './config-error.ts';
import { Pattern } from './pattern.ts';
import { TEXTS } from './texts.ts';

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
  if (pattern.size > MAX_SIZE) {
    throw new ConfigError([TEXTS.regexTooLarge]);
  }
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
  if (LOOK_AROUND.test(text)) {
    return TEXTS.regexLookAround;
  }
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
