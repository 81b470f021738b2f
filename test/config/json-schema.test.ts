import { readFileSync } from 'node:fs';
import test from 'ava';
import { z } from 'zod';
import { configJsonSchema } from '../../src/config/schema.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { NO_SLIPS, SEEN_BY_EDITORS } from './slips.ts';

interface Node {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly additionalProperties?: boolean | Node;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly not?: object;
}

const EXAMPLE = new URL('../../deploy/entrepot.example.yaml', import.meta.url);

/** Every key below a node, with its path. */
function keysOf(node: Node, path = ''): { path: string; key: string; schema: Node }[] {
  const own = Object.entries(node.properties ?? {}).flatMap(([key, schema]) => [
    { path: `${path}.${key}`, key, schema },
    ...keysOf(schema, `${path}.${key}`),
  ]);
  const map = typeof node.additionalProperties === 'object' ? [node.additionalProperties] : [];
  const items = node.items ? [node.items] : [];
  const forms = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...map, ...items];
  return [...own, ...forms.flatMap((form) => keysOf(form, path))];
}

test('every key that may be written has a description for editors', (t) => {
  const keys = keysOf(configJsonSchema() as Node).filter(({ schema }) => !schema.not);
  t.true(keys.length > 35);
  t.deepEqual(
    keys.filter(({ schema }) => !schema.description).map(({ path }) => path),
    [],
  );
});

test('the schema knows the defaults, and refuses unknown keys at the top', (t) => {
  const schema = configJsonSchema();
  t.is(schema.additionalProperties, false);
  const keys = keysOf(schema as Node);
  const defaults = Object.fromEntries(
    keys.map(({ path, schema: key }) => [path, (key as { default?: unknown }).default]),
  );
  t.is(defaults['.listen'], '0.0.0.0:5000');
  t.is(defaults['.store.maxBytes'], '100GiB');
  t.is(defaults['.upstreams.tags.staleIfError'], 'forever');
});

test('the example file shows every key', (t) => {
  const example = readFileSync(EXAMPLE, 'utf8');
  const missing = keysOf(configJsonSchema() as Node)
    .map(({ key }) => key)
    .filter((key) => !new RegExp(`[\\s{]${key}:`).test(example));
  t.deepEqual(missing, []);
});

test('the schema takes what the program takes, and no slip that stands in one value', (t) => {
  const schema = z.fromJSONSchema(configJsonSchema());
  for (const yaml of ['', NO_SLIPS, readFileSync(EXAMPLE, 'utf8')]) {
    t.is(schema.safeParse(parseYaml(yaml)).error, undefined);
  }
  for (const [yaml] of SEEN_BY_EDITORS) {
    t.false(schema.safeParse(parseYaml(yaml)).success, yaml);
  }
});
