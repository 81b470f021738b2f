import { RE2JSException } from 're2js';
import { ConfigError } from './problems.ts';
import { Pattern } from './pattern.ts';
import { TEXTS } from './texts.ts';

const MAX_LENGTH = 255;
/** `**` as a whole path component is a token together with one of its slashes. */
const TOKEN = /(?<![^{,])\*\*\/|\/\*\*(?![^/},])|\*\*|[*?{},]|\[[!^]?[^\]]+\]|[A-Za-z0-9_./:@-]/y;
const EXPRESSIONS = new Map([
  ['**/', '(?:.*/)?'],
  ['/**', '(?:/.*)?'],
  ['**', '.*'],
  ['*', '[^/]*'],
  ['?', '[^/]'],
  ['{', '(?:'],
]);
const INSIDE_BRACES = new Map([...EXPRESSIONS, [',', '|'], ['}', ')']]);

/** The written form of a pattern, for editors. */
export const GLOB_FORM =
  '^(?!\\.[*+]|.*[/:]\\.[*+])(?:[A-Za-z0-9_./:@*?{},-]|\\[[!^]?[^\\]]+\\])+$';

/** Whether a text is a pattern and not a name. */
export function isGlob(text: string): boolean {
  return /[*?[{]/.test(text);
}

/**
 * The pattern of a glob over whole names of tags, repositories or images. `*` and `?` stop at a
 * slash, `**` does not, and as a path component it may be empty: `org/**` matches `org` too.
 * `[a-z]`, `[!a-z]` and `{a,b}` are as in a shell. Throws a `ConfigError`.
 */
export function parseGlob(glob: string): Pattern {
  if (glob === '' || glob.length > MAX_LENGTH) {
    throw new ConfigError([TEXTS.glob({ most: MAX_LENGTH })]);
  }
  if (STARTS_AS_REGEX.test(glob)) throw unusual(glob, 0);
  try {
    return new Pattern(`^${translate(glob)}$`);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new ConfigError([TEXTS.globRange({ glob })]);
  }
}

/**
 * As `parseGlob`, and `undefined` for what is no glob: a store may keep one that only another
 * version reads.
 */
export function findGlob(glob: string): Pattern | undefined {
  try {
    return parseGlob(glob);
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** Whether one of the globs matches. Throws a `ConfigError`. */
export function parseGlobs(globs: readonly string[]): (text: string) => boolean {
  const patterns = globs.map(parseGlob);
  // The default list, which every request passes, is answered without the engine.
  if (globs.includes('**')) return () => true;
  return (text) => patterns.some((pattern) => pattern.matches(text));
}

/**
 * A matcher of `repository:tag`, a glob on each side. The repository may be `*` or left out for
 * every one. Throws a `ConfigError`.
 */
export function parseTagGlob(glob: string): (repository: string, tag: string) => boolean {
  const colon = glob.lastIndexOf(':');
  const repository = colon === -1 ? '*' : glob.slice(0, colon);
  const hasRepository = parseGlobs([repository === '*' ? '**' : repository]);
  const tags = parseGlob(glob.slice(colon + 1));
  return (name, tag) => tags.matches(tag) && hasRepository(name);
}

function translate(glob: string): string {
  let depth = 0;
  let expression = '';
  for (let position = 0; position < glob.length; position = TOKEN.lastIndex) {
    TOKEN.lastIndex = position;
    const [token] = TOKEN.exec(glob) ?? [];
    if (token === undefined) throw unusual(glob, position);
    if (depth === 0 && (token === ',' || token === '}')) throw unusual(glob, position);
    expression += (depth > 0 ? INSIDE_BRACES : EXPRESSIONS).get(token) ?? literal(token);
    depth += token === '{' ? 1 : token === '}' ? -1 : 0;
  }
  if (depth > 0) throw new ConfigError([TEXTS.globOpen({ glob })]);
  return expression;
}

function literal(token: string): string {
  if (!token.startsWith('[')) return token.replace('.', '\\.');
  return token.replace(/^\[[!^]/, '[^/').replaceAll(/\\|(?<=.)\[/g, '\\$&');
}

function unusual(glob: string, position: number): ConfigError {
  const right = fromRegex(glob);
  return new ConfigError([
    right === undefined
      ? TEXTS.globUnusual({ glob, character: glob[position] ?? '' })
      : TEXTS.globOfRegex({ glob, right }),
  ]);
}

/** No part of a name begins with a dot: who writes this means an expression. */
const STARTS_AS_REGEX = /(?:^|[/:])\.[*+]/;

/** What parts of a regular expression are in a glob, in the order in which they are replaced. */
const IN_A_GLOB: readonly (readonly [part: RegExp, glob: string])[] = [
  [/^\^|\$$/g, ''],
  [/\(\?:/g, '('],
  [/\\d/g, '[0-9]'],
  [/\\w/g, '[A-Za-z0-9_]'],
  [/(?<=^|\/)\.[*+](?=$|\/)/g, '**'],
  [/(?<!\\)\.\*/g, '*'],
  [/(?<!\\)\.\+/g, '?*'],
  [/(?<=[\]\w])\+/g, '*'],
  [/\\(?=[./:@-])/g, ''],
  [/\(([^()|]*)\)(?![?*+])/g, '$1'],
  [/^([^(){}]*\|[^(){}]*)$/, '($1)'],
];

/** The glob that an expression seems to mean; `undefined` where it has more than a glob can say. */
function fromRegex(text: string): string | undefined {
  // What may be left out or comes so many times has no glob.
  if (/(?<!\()\?|[\])\w]\{/.test(text)) return undefined;
  const isAnchored = /^\^|\$$/.test(text);
  const plain = IN_A_GLOB.reduce((rest, [part, glob]) => rest.replace(part, glob), text);
  const braced = plain.replaceAll(/\(([^()]*)\)/g, (_, either: string) => {
    return `{${either.replaceAll('|', ',')}}`;
  });
  const start = isAnchored && !text.startsWith('^') ? '*' : '';
  const end = isAnchored && !text.endsWith('$') && !braced.endsWith('*') ? '*' : '';
  const glob = `${start}${braced}${end}`.replace(/\/\*$/, '/**');
  return glob !== text && isUsual(glob) ? glob : undefined;
}

function isUsual(glob: string): boolean {
  return !/[\\^$()|+]/.test(glob.replaceAll(/\[[^\]]*\]/g, '')) && findGlob(glob) !== undefined;
}
