import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { PAGES } from '../../../grafana/generate.ts';
import type { Labels } from '../../../src/observe/declarations.ts';
import { Metrics } from '../../../src/observe/metrics.ts';

interface Declared {
  readonly type: string;
  readonly name: string;
  readonly help: string;
}

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
}

/** In this order; a metric belongs to the first whose pattern its name has. */
const GROUPS: readonly (readonly [title: string, pattern: RegExp])[] = [
  ['Answers to clients', /^entrepot_(?:cache|http)_/],
  ['Upstreams', /^entrepot_(?:upstream|certificate)_/],
  ['Transfers of blobs', /^entrepot_(?:download|transfer)/],
  ['Tags and content', /^entrepot_(?:tags|integrity)_/],
  ['Store', /^entrepot_(?:store|evicted|scrub|verify)_/],
  ['Sync', /^entrepot_sync_/],
  ['Process', /^entrepot_/],
];
const RULES = join(import.meta.dirname, '../../../grafana/rules');

/** Every metric with its labels and their values, and the panels and alerts that use it. */
export function metricsPage(): string {
  const metrics = new Metrics();
  const declared = metrics.registry.getMetricsAsArray() as unknown as Declared[];
  const groups = Map.groupBy(
    declared,
    ({ name }) => GROUPS.find(([, form]) => form.test(name))?.[0],
  );
  const users = usersOf();
  return GROUPS.map(([title]) => {
    const own = (groups.get(title) ?? []).map((metric) =>
      describe(metric, metrics.labels.get(metric.name) ?? {}, users),
    );
    return `## ${title}\n\n${own.join('\n\n')}\n`;
  }).join('\n');
}

interface User {
  /** The dashboard of a panel; an alert has none. */
  readonly page?: string;
  readonly name: string;
  readonly expr: string;
}

function describe(metric: Declared, labels: Labels, users: readonly User[]): string {
  const { type } = metric;
  const label = ([name, values]: readonly [string, readonly string[]]): string =>
    values.length === 0 ? `\`${name}\`` : `\`${name}\` (${values.join(', ')})`;
  const names = Object.entries(labels).map(label);
  const use = new RegExp(String.raw`\b${metric.name}(?:_bucket|_sum|_count)?\b`);
  const using = users.filter(({ expr }) => use.test(expr));
  const alerts = using.filter(({ page }) => page === undefined).map(({ name }) => `\`${name}\``);
  const panels = [...Map.groupBy(using, ({ page }) => page)].flatMap(([page, own]) =>
    page === undefined ? [] : `${page} (${[...new Set(own.map(({ name }) => name))].join('; ')})`,
  );
  const lines = [
    ...(names.length > 0 ? [`- Labels: ${names.join(', ')}`] : []),
    ...(panels.length > 0 ? [`- Panels: ${panels.join(', ')}`] : []),
    ...(alerts.length > 0 ? [`- Alerts: ${alerts.join(', ')}`] : []),
  ];
  const about = `### ${metric.name}\n\n${type[0]?.toUpperCase()}${type.slice(1)}. ${metric.help}.`;
  return lines.length === 0 ? about : `${about}\n\n${lines.join('\n')}`;
}

/** Panels and alerts, with what their recorded series are made of. */
function usersOf(): User[] {
  const recorded = new Map(rules('recording').map(({ record = '', expr }) => [record, expr]));
  const inFull = (expr: string): string =>
    [...recorded].reduce(
      (text, [name, of]) => (text.includes(name) ? `${text} ${of}` : text),
      expr,
    );
  const alerts = rules('alerts').map(({ alert = '', expr }) => ({
    name: alert,
    expr: inFull(expr),
  }));
  const panels = Object.values(PAGES).flatMap(({ title, rows }) =>
    rows.flatMap(({ panels: own }) =>
      own.flatMap((panel) =>
        panel.queries.map(({ expr }) => ({
          page: title.replace('Entrepot / ', ''),
          name: panel.title,
          expr: inFull(expr),
        })),
      ),
    ),
  );
  return [...panels, ...alerts];
}

function rules(name: string): Rule[] {
  const { groups } = parse(readFileSync(join(RULES, `${name}.yaml`), 'utf8')) as {
    groups: { rules: Rule[] }[];
  };
  return groups.flatMap(({ rules: own }) => own);
}
