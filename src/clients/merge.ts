import { isDeepStrictEqual } from 'node:util';
import { appended, marked, withoutMarked, type Origin } from './marks.ts';
import type { ClientFile } from './recipe.ts';
import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';
import { isTable, parseToml } from './toml.ts';
import { joinYaml, parseYamlFile } from './yaml-lines.ts';

type Table = Readonly<Record<string, unknown>>;

/**
 * The text of a file with ours in it, between marks. What stood there stays as it was, to the byte, and means
 * what it meant: the result is read again, and is refused unless it says both, and unless our way back leads
 * to the text that stood there.
 */
export function merge(origin: Origin, file: ClientFile): string {
  const before = origin.text ?? '';
  const after = candidates(origin, file).find((text) => isSound(before, text, file));
  if (after === undefined) throw new Refusal(TEXTS.cannotMerge);
  if (!isDeepStrictEqual(withoutMarked(after), origin)) throw new Refusal(TEXTS.cannotMerge);
  return after;
}

/** The places where ours may go, the best one first. */
function candidates(origin: Origin, { format, content }: ClientFile): string[] {
  const text = origin.text ?? '';
  const atEnd = appended(text, marked(content, origin));
  if (format === 'yaml') return [joinYaml(origin, content)];
  if (format !== 'toml-first') return [atEnd];
  const tables = [...text.matchAll(/^[ \t]*\[/gm)].map(({ index }) => index);
  const block = `${marked(content, origin)}\n`;
  return [...tables.map((at) => text.slice(0, at) + block + text.slice(at)), atEnd];
}

function isSound(before: string, after: string, { format, content }: ClientFile): boolean {
  if (format === 'pem') return true;
  const parse = format === 'yaml' ? parseYamlFile : parseToml;
  const [foreign, ours] = [parse(before), parse(content)];
  if (!foreign) throw new Refusal(format === 'yaml' ? TEXTS.notYaml : TEXTS.notToml);
  const joined = parse(after);
  if (!ours || !joined || !isSame(joined, join(foreign, ours))) return false;
  return format !== 'toml-first' || isAskedFirst(joined, ours);
}

/** Whatever kind of objects a parser makes. */
function isSame(one: Table, other: Table): boolean {
  return isDeepStrictEqual(structuredClone(one), structuredClone(other));
}

/** Hosts are asked in the order of the file, and the server after them. */
function isAskedFirst({ host: hosts = {} }: Table, { host: own = {} }: Table): boolean {
  return Object.keys(hosts as Table)[0] === Object.keys(own as Table)[0];
}

/** Both tables in one; `undefined` stands where both say something, which equals nothing. */
function join(one: Table, other: Table): Table {
  const joined: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other)) {
    const had = one[key];
    if (had === undefined) joined[key] = value;
    else if (Array.isArray(had) && Array.isArray(value)) joined[key] = [...had, ...value];
    else joined[key] = isTable(had) && isTable(value) ? join(had, value) : undefined;
  }
  return joined;
}
