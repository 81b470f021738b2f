import { configJsonSchema } from '../../../src/config/schema.ts';
import { Reload } from '../../../src/reload.ts';

/** Of JSON Schema what the schema of the configuration has. */
interface Node {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly items?: Node;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: Node | false;
  readonly required?: readonly string[];
  readonly not?: object;
}

interface Section {
  readonly path: string;
  readonly about: string;
  readonly rows: readonly string[];
}

/** A table for each map of the configuration file, with all keys in their order. */
export function configurationPage(): string {
  return sectionsOf(configJsonSchema() as Node, { path: '', about: 'The keys of the file itself.' })
    .map(({ path, about, rows }) => {
      const table = ['| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows];
      const title = path === '' ? 'The file' : path;
      return `### ${title}\n\n${about}\n\n${table.join('\n')}\n`;
    })
    .join('\n');
}

function sectionsOf(map: Node, { path, about }: Omit<Section, 'rows'>): Section[] {
  const keys = Object.entries(map.properties ?? {}).filter(([, node]) => !node.not);
  const own = {
    path,
    about,
    rows: keys.map(([key, node]) =>
      row(key, node, { path: below(path, key), isRequired: map.required?.includes(key) ?? false }),
    ),
  };
  return [
    own,
    ...keys.flatMap(([key, node]) => {
      const text = textOf(node);
      return mapsOf(node, below(path, key)).flatMap(([inner, place, name]) =>
        sectionsOf(inner, { path: place, about: name ?? text }),
      );
    }),
  ];
}

/** The maps below a key, where they stand, and what tells one form from the others. */
function mapsOf(node: Node, path: string): (readonly [map: Node, path: string, form?: string])[] {
  if (node.title === 'secret') return [];
  if (node.properties) return [[node, path]];
  if (node.items) return mapsOf(node.items, `${path}[]`);
  if (typeof node.additionalProperties === 'object') {
    return mapsOf(node.additionalProperties, below(path, 'NAME'));
  }
  if (node.oneOf) {
    return node.oneOf.map((form) => {
      const provider = form.properties?.['provider'];
      if (provider?.const === undefined) return [form, path] as const;
      return [form, `${path} (${provider.const})`, textOf(provider)] as const;
    });
  }
  const forms = node.anyOf?.map((form) => mapsOf(form, path)) ?? [];
  // A list of maps beside a map has the same ones.
  return forms.find((maps) => maps.length > 0) ?? [];
}

function row(
  key: string,
  node: Node,
  { path, isRequired }: { path: string; isRequired: boolean },
): string {
  const restarts = Reload.AT_START.includes(path) ? ' **Restart.**' : '';
  const [meaning = '', told] = textOf(node).split(/ Default: (.*)\.$/);
  const value = defaultOf(node.default) ?? told ?? (isRequired ? 'required' : '');
  const shown = value === '' || value === 'required' ? value : `\`${value}\``;
  const names = isMap(node.default) ? Object.keys(node.default) : [];
  const entries = names.length > 0 ? ` Left out: ${names.join(', ')}.` : '';
  const cells = [`\`${key}\``, valueOf(node), shown, `${meaning}${entries}${restarts}`];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

/** A map's entries are told with its meaning. */
function defaultOf(value: unknown): string | undefined {
  if (value === undefined || isMap(value)) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueOf(node: Node): string {
  if (node.title !== undefined) return node.title;
  if (node.enum) return node.enum.map((word) => `\`${word}\``).join(', ');
  if (node.const !== undefined) return `\`${node.const}\``;
  const forms = node.anyOf ?? node.oneOf;
  if (forms) {
    const names = forms.filter(({ type }) => type !== 'null').map(valueOf);
    return [...new Set(names)].join(' or ');
  }
  if (node.type === 'array') return `list: ${valueOf(node.items ?? {})}`;
  if (node.type === 'object') return 'map';
  if (node.type === 'boolean') return '`true`, `false`';
  return node.type === 'integer' ? 'number' : 'text';
}

function textOf({ description = '' }: Node): string {
  return description;
}

function below(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
