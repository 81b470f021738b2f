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
    readdirSync(folder).map((name) => join(folder, name)).toSorted(),
    [...made.keys()].toSorted(),
  );
  for (const [path, text] of made) t.is(readFileSync(path, 'utf8'), text, path);
});

test('every panel has an id of its own, and each query a letter and a name for its series', (t) => {
  for (const [path, text] of generate()) {
    const { panels } = JSON.parse(text) as {
      panels: { id?: number; type: string; targets?: { refId?: string; legendFormat?: string }[] }[];
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
