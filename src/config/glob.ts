import { RE2JSException } from 're2js';
import { ConfigError } from './config-error.ts';
import { Pattern } from './pattern.ts';

const MAX_LENGTH = 255;
/** `**` with one slash where it is a whole path component, and then without. */
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

/** Whether a text means several names, and not the one that it spells. */
export function isGlob(text: string): boolean {
  return /[*?[{]/.test(text);
}

/**
 * The pattern of a glob that is to match a whole name: a tag, a repository, an image. `*` and `?`
 * stop at a slash, `**` does not and may be no path component at all
 * (`org/**` has `org` too); `[a-z]`, `[!a-z]` and `{a,b}` as in a shell. Throws a `ConfigError`.
 */
export function parseGlob(glob: string): Pattern {
  if (glob === '' || glob.length > MAX_LENGTH) {
    throw new ConfigError([`write a pattern such as "22-*", of at most ${MAX_LENGTH} characters`]);
  }
  try {
    return new Pattern(`^${translate(glob)}$`);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new ConfigError([`"${glob}" has a range that is none; write one such as [0-9]`]);
  }
}

/** As `parseGlob`, of what is kept: a glob of another version that is none here matches nothing. */
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
  // The usual list, which every request meets, needs no look at the text.
  if (globs.includes('**')) return () => true;
  return (text) => patterns.some((pattern) => pattern.matches(text));
}

/**
 * `repository:tag`, a glob on each side; `*` as the repository means every one, and so does its
 * absence. Throws a `ConfigError`.
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
  if (depth > 0) throw new ConfigError([`"${glob}" opens { and does not close it; write {a,b}`]);
  return expression;
}

function literal(token: string): string {
  if (!token.startsWith('[')) return token.replace('.', '\\.');
  return token.replace(/^\[[!^]/, '[^/').replaceAll(/\\|(?<=.)\[/g, '\\$&');
}

function unusual(glob: string, position: number): ConfigError {
  return new ConfigError([
    `"${glob}" has ${glob[position]} where no name has it; write *, ?, [a-z] or {a,b} for what varies`,
  ]);
}
