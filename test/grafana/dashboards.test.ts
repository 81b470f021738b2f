import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { generate, PAGES } from '../../grafana/generate.ts';
import { Metrics } from '../../src/observe/metrics.ts';

const GRAFANA = join(import.meta.dirname, '..', '..', 'grafana');
const PANELS = Object.values(PAGES).flatMap(({ rows }) => rows.flatMap(({ panels }) => panels));

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly annotations?: { readonly summary: string; readonly runbook: string };
}

/** Rules of a file by the order in which they stand. */
function rulesOf(name: string): readonly Rule[] {
  const text = readFileSync(join(GRAFANA, 'rules', name), 'utf8');
  return (parse(text) as { groups: { rules: Rule[] }[] }).groups.flatMap(({ rules }) => rules);
}

test('what is committed is what the code makes', (t) => {
  const made = generate();
  const folder = join(GRAFANA, 'dashboards');
  t.deepEqual(
    readdirSync(folder)
      .map((name) => join(folder, name))
      .toSorted(),
    [...made.keys()].toSorted(),
  );
  for (const [path, text] of made) t.is(readFileSync(path, 'utf8'), text, path);
});

test('every panel has an id of its own, and each query a letter and a name for its series', (t) => {
  for (const [path, text] of generate()) {
    const { panels } = JSON.parse(text) as {
      panels: {
        id?: number;
        type: string;
        targets?: { refId?: string; legendFormat?: string }[];
      }[];
    };
    const ids = panels.map(({ id }) => id);
    t.deepEqual(ids, [...new Set(ids)], path);
    for (const { type, targets = [] } of panels) {
      t.is(type === 'row', targets.length === 0);
      const letters = targets.map(({ refId }) => refId);
      t.deepEqual(letters, [...new Set(letters)]);
      t.true(targets.every(({ refId, legendFormat }) => refId !== undefined && legendFormat));
    }
  }
});

test('every panel says in sentences what it shows, and what it means when there is nothing', (t) => {
  for (const { title, description, empty } of PANELS) {
    t.regex(description, /^[A-Z`].*\.$/, title);
    t.regex(empty, /^[A-Z].*[^.]$/, title);
  }
});

/** Of the process, by `prom-client`, and what Prometheus itself writes of a scrape. */
const FOREIGN = /^(?:process_|nodejs_)\w+$|^up$/;
/** Of a scrape, and of histograms. */
const FOREIGN_LABELS = ['instance', 'job', 'le', 'alertstate', 'alertname'];
const EXPRESSIONS = [
  ...PANELS.flatMap(({ queries }) => queries.map(({ expr }) => expr)),
  ...['alerts.yaml', 'recording.yaml'].flatMap((name) => rulesOf(name).map(({ expr }) => expr)),
];

test('every metric and label that a panel, an alert or a recording asks for is there', (t) => {
  const labelsOf = new Map(
    (new Metrics().registry.getMetricsAsArray() as { name: string; labelNames?: string[] }[]).map(
      ({ name, labelNames = [] }) => [name, labelNames],
    ),
  );
  const asked = EXPRESSIONS.flatMap((expr) => [
    ...expr.matchAll(/\b((?:entrepot|process|nodejs)_\w+|up)\b(?:\{([^}]*)\})?/g),
  ]);
  t.true(asked.length > EXPRESSIONS.length / 2);
  for (const [whole, name = '', matchers = ''] of asked) {
    const labels = labelsOf.get(name) ?? labelsOf.get(name.replace(/_(?:bucket|sum|count)$/, ''));
    if (!FOREIGN.test(name)) t.truthy(labels, whole);
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
      t.true(FOREIGN_LABELS.includes(label) || labels?.includes(label), `${whole}: ${label}`);
    }
  }
  const grouped = EXPRESSIONS.flatMap((expr) => [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)]);
  const known = new Set([...FOREIGN_LABELS, ...[...labelsOf.values()].flat()]);
  for (const [whole, labels = ''] of grouped) {
    for (const label of labels.split(/,\s*/)) t.true(known.has(label), whole);
  }
});

test('the unit of a panel is that of its metrics', (t) => {
  for (const { title, unit, queries } of PANELS) {
    for (const { expr } of queries) {
      const [, name = ''] = /\b((?:entrepot|process|nodejs)_\w+)/.exec(expr) ?? [];
      const isShare = / \/ /.test(expr) && !/-deriv/.test(expr);
      const isRate = /\brate\(/.test(expr) && !expr.startsWith('histogram_quantile');
      const ofSeconds = /_seconds(?:_bucket|_total)?$/.test(name);
      const ofBytes = /_bytes(?:_total)?$/.test(name);
      const units = isShare
        ? ['percentunit', 'short']
        : /-deriv/.test(expr) || /time\(\)/.test(expr)
          ? ['s']
          : ofSeconds
            ? isRate
              ? ['percentunit']
              : ['s']
            : ofBytes
              ? [isRate ? 'Bps' : 'bytes']
              : [isRate ? 'reqps' : 'short', 'none'];
      t.true(units.includes(unit), `${title}: ${unit} of ${expr}`);
    }
  }
});

test('every alert says what it means, what to look at and what to do, with a command that there is', (t) => {
  const help = readFileSync(join(GRAFANA, '..', 'test', 'golden', 'help.txt'), 'utf8');
  for (const { alert, annotations } of rulesOf('alerts.yaml')) {
    t.truthy(annotations?.summary, alert);
    const commands = [...(annotations?.runbook ?? '').matchAll(/`entrepot ([a-z ]+)`/g)];
    t.true(commands.length > 0, alert);
    for (const [, command = ''] of commands) {
      t.true(help.includes(`$ entrepot ${command} --help`), `${alert}: ${command}`);
    }
  }
});

test('every alert is tried, with times that are its own', (t) => {
  const tried = readFileSync(join(GRAFANA, 'rules', 'alerts.test.yaml'), 'utf8');
  const alerts = rulesOf('alerts.yaml').map(({ alert = '' }) => alert);
  t.deepEqual(
    alerts.filter((alert) => !tried.includes(`alertname="${alert}"`)),
    [],
  );
});
