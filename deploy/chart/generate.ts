// node deploy/chart/generate.ts: writes what the chart has from elsewhere, then the plain manifests that Helm makes of it.
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { Document, isPair, isScalar, visit } from 'yaml';
import { toolPath } from '../../test/clients/tools.ts';
import { chartValues, valuesSchema, type Schema } from './values.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
export const CHART = join(import.meta.dirname, 'entrepot');

/** Of the plain manifests: the values, and the templates whose objects are in the file. */
const MANIFESTS: Readonly<Record<string, { values: readonly string[]; templates: string[] }>> = {
  'entrepot.yaml': {
    values: ['service.type=NodePort', 'service.nodePort=30500'],
    templates: ['config', 'mirror', 'services'],
  },
  'nodes-containerd.yaml': {
    values: ['nodes.mode=write', 'nodes.address=http://$(NODE_IP):30500'],
    templates: ['nodes'],
  },
  'monitoring.yaml': {
    values: ['serviceMonitor.enabled=true', 'prometheusRule.enabled=true'],
    templates: ['monitoring'],
  },
};

/** The text of each generated file of the chart, by its path below the project. */
export function chartFiles(): Map<string, string> {
  const values = chartValues();
  const copies = globSync('{dashboards/*.json,rules/!(*.test).yaml}', {
    cwd: join(PROJECT, 'grafana'),
  }).map((path): [string, string] => [
    `files/${path}`,
    readFileSync(join(PROJECT, 'grafana', path), 'utf8'),
  ]);
  const files: [string, string][] = [
    ...copies,
    ['values.yaml', valuesYaml(values)],
    ['values.schema.json', `${JSON.stringify(valuesSchema(), null, 1)}\n`],
    ['README.md', readme(values)],
  ];
  const below = (path: string): string => relative(PROJECT, join(CHART, path));
  return new Map(files.map(([path, text]) => [below(path), text]));
}

/** The plain manifests, as this Helm renders them for a namespace `mirrors`. */
export function manifests(helm: string): Map<string, string> {
  const rendered = Object.entries(MANIFESTS).map(([name, { values, templates }]) => {
    const shown = templates.flatMap((name) => ['--show-only', `templates/${name}.yaml`]);
    const set = values.flatMap((value) => ['--set', value]);
    const args = ['template', 'entrepot', CHART, '--namespace', 'mirrors', ...shown, ...set];
    const { status, stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    const head = `# Rendered from the chart in deploy/chart by its generate.ts: ${values.join(', ')}\n`;
    return [
      `deploy/kubernetes/${name}`,
      head + stdout.replaceAll(/^# Source:.*\n/gm, '').replaceAll(/\n+(?=---|$)/g, '\n'),
    ] as const;
  });
  return new Map(rendered);
}

/** A value, or the folder of several. */
interface Value {
  readonly path: string;
  readonly schema: Schema;
}

function valuesOf(schema: Schema, above = ''): Value[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => {
    const path = above + key;
    return [{ path, schema: inner }, ...valuesOf(inner, `${path}.`)];
  });
}

function defaultsOf({ default: standard, properties }: Schema): unknown {
  if (!properties) return standard;
  return Object.fromEntries(
    Object.entries(properties).map(([key, inner]) => [key, defaultsOf(inner)]),
  );
}

function valuesYaml(schema: Schema): string {
  const document = new Document(defaultsOf(schema), { version: '1.1' });
  const described = new Map(
    valuesOf(schema).map(({ path, schema: { description } }) => [path, description]),
  );
  visit(document, {
    Pair(_, pair, ancestors) {
      if (!isScalar(pair.key)) return;
      const keys = [...ancestors.filter(isPair), pair].map(({ key }) => String(key));
      const text = described.get(keys.join('.'));
      if (text !== undefined) pair.key.commentBefore = folded(text, 96 - 2 * keys.length);
      pair.key.spaceBefore = keys.length === 1;
    },
  });
  const head =
    '# Every value of the chart with its default. values.ts beside the chart says what there is.\n';
  return head + document.toString({ singleQuote: true, lineWidth: 0 });
}

/** As comments are: a blank before each line. */
function folded(text: string, width: number): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line.length + word.length >= width) lines.push(` ${word}`);
    else lines.splice(-1, 1, `${line} ${word}`);
  }
  return lines.join('\n');
}

function readme(schema: Schema): string {
  const rows = valuesOf(schema).map(({ path, schema: { default: standard, description = '' } }) => {
    const value = standard === undefined ? '' : `\`${JSON.stringify(standard)}\``;
    return `| \`${path}\` | ${value} | ${description} |`;
  });
  return [
    '# The chart entrepot',
    '',
    'A caching mirror of container registries. How it is used: [docs/kubernetes.md](../../../docs/kubernetes.md).',
    '',
    '| value | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

if (import.meta.main) {
  write(chartFiles());
  write(manifests(toolPath('helm')));
}

function write(files: ReadonlyMap<string, string>): void {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(PROJECT, path)), { recursive: true });
    writeFileSync(join(PROJECT, path), text);
  }
}
