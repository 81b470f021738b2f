import { isMap, isScalar, parseDocument, type Document } from 'yaml';
import { appended, marked, type Origin } from './marks.ts';
import { Refusal } from './refusal.ts';
import { TEXTS } from './texts.ts';

/** The map of a YAML file, an empty one of an empty file; `undefined` for what is no such. */
export function parseYamlFile(text: string): Readonly<Record<string, unknown>> | undefined {
  const document = read(text);
  if (document.errors.length > 0) return undefined;
  const value: unknown = document.toJS() ?? {};
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isTable ? (value as Record<string, unknown>) : undefined;
}

/**
 * Ours in the text of a file: what belongs to a key that is there already before the first entry of that one,
 * with its indent; the rest behind all else. Throws a `Refusal` where a key is there in another form.
 */
export function joinYaml(origin: Origin, content: string): string {
  const text = origin.text ?? '';
  const { contents } = read(text);
  const places: { at: number; lines: string; indent: string }[] = [];
  const rest: string[] = [];
  for (const section of content.split(/^(?=\S)/m)) {
    const [, key = '', below = ''] = /^([^:\n]+):[^\n]*\n([^]*)$/.exec(section) ?? [];
    const pair = isMap(contents)
      ? contents.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    if (!pair) {
      rest.push(section);
      continue;
    }
    const { value } = pair;
    const first = isMap(value) && !value.flow ? value.items[0]?.key : undefined;
    const at = isScalar(first) ? (first.range?.[0] ?? 0) : 0;
    const line = text.lastIndexOf('\n', at) + 1;
    const indent = text.slice(line, at);
    if (indent === '' || indent.trim() !== '') throw new Refusal(TEXTS.otherForm({ key }));
    places.push({ at: line, lines: below.replace(/^ {2}/gm, indent), indent });
  }
  let joined = rest.length > 0 ? appended(text, marked(rest.join(''), origin)) : text;
  for (const { at, lines, indent } of places.toSorted((one, other) => other.at - one.at)) {
    joined = `${joined.slice(0, at)}${marked(lines, origin, indent)}\n${joined.slice(at)}`;
  }
  return joined;
}

function read(text: string): Document {
  return parseDocument(text, { prettyErrors: false, logLevel: 'error' });
}
