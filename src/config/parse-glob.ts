import { RE2JSException } from 're2js';
import { ConfigError } from './config-error.ts';
import { Pattern } from './pattern.ts';

const MAX_LENGTH = 255;
const TOKEN = /\*\*|[*?{},]|\[[!^]?[^\]]+\]|[A-Za-z0-9_./:@-]/y;
const OUTSIDE_BRACES = new Map([
  ['**', '.*'],
  ['*', '[^/]*'],
  ['?', '[^/]'],
  ['{', '(?:'],
]);
const INSIDE_BRACES = new Map([...OUTSIDE_BRACES, [',', '|'], ['}', ')']]);

/**
 * The pattern of a glob that is to match a whole tag or repository: `*` and `?` stay between
 * slashes, `**` crosses them, `[a-z]`, `[!a-z]` and `{a,b}` as in a shell. Throws a `ConfigError`.
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

function translate(glob: string): string {
  let depth = 0;
  let expression = '';
  for (let position = 0; position < glob.length; position = TOKEN.lastIndex) {
    TOKEN.lastIndex = position;
    const [token] = TOKEN.exec(glob) ?? [];
    if (token === undefined) throw unusual(glob, position);
    if (depth === 0 && (token === ',' || token === '}')) throw unusual(glob, position);
    expression += (depth > 0 ? INSIDE_BRACES : OUTSIDE_BRACES).get(token) ?? literal(token);
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
