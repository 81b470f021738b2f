/** Each object that the chart makes, against the schemas of Kubernetes and of the operators it knows. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { toolPath } from '../clients/tools.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingPackages, testUnless } from '../helpers/needs.ts';
import { HELM, NO_HELM, objectsOf, render, type KubernetesObject } from './chart.ts';
import { VALUE_SETS } from './chart-values.ts';
import { CUSTOM_RESOURCES } from './custom-resources.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
const VALIDATE = toolPath('kubernetes-validate');
/** The oldest that the chart takes, the newest that there are schemas of, and some between. */
const RELEASES = ['1.27', '1.30', '1.33', '1.35', '1.37'];
const NO_SCHEMAS = existsSync(VALIDATE)
  ? undefined
  : 'install the schemas: node test/clients/build.ts kubernetes-validate';
const test = testUnless('the schemas of Kubernetes', NO_HELM ?? NO_SCHEMAS);
const testRules = testUnless('the rules of the chart', NO_HELM ?? missingPackages('promtool'));

for (const release of RELEASES) {
  test(`Kubernetes ${release} knows each key of each object that is its own`, (t) => {
    const { own } = allObjects();
    const { status, stdout, passed } = validate(own, release);
    t.is(status, 0, stdout);
    t.is(passed, own.length);
  });
}

test('a key that Kubernetes does not know is told', (t) => {
  const [object] = render();
  t.not(validate([{ ...object!, extra: 1 }], '1.37').status, 0);
});

test('the operators know each key of each object that is theirs', (t) => {
  const { foreign } = allObjects();
  const kinds = new Set(foreign.map(({ kind }) => kind));
  t.deepEqual([...kinds].toSorted(), ['GrafanaDashboard', 'PrometheusRule', 'ServiceMonitor']);
  for (const object of foreign) t.deepEqual(CUSTOM_RESOURCES.safeParse(object).error, undefined);
});

testRules(
  'the rules in the cluster are those of grafana/rules, as promtool takes them',
  async (t) => {
    const [rule] = render({ prometheusRule: { enabled: true } }).filter(
      ({ kind }) => kind === 'PrometheusRule',
    );
    const { groups } = rule!.spec! as { groups: unknown[] };
    const files = ['alerts', 'recording'].map((name) =>
      readFileSync(join(PROJECT, 'grafana', 'rules', `${name}.yaml`), 'utf8'),
    );
    t.deepEqual(
      groups,
      files.flatMap((text) => (parse(text) as { groups: unknown[] }).groups),
    );
    const file = join(await createTempFolder(t), 'rules.yaml');
    await writeFile(file, stringify({ groups }));
    const { status, stderr } = spawnSync('promtool', ['check', 'rules', file], {
      encoding: 'utf8',
    });
    t.is(status, 0, stderr);
  },
);

/** What all sets of values and the plain manifests make, each object once. */
function allObjects(): { own: KubernetesObject[]; foreign: KubernetesObject[] } {
  const plain = globSync(join(PROJECT, 'deploy', 'kubernetes', '*.yaml')).flatMap((file) =>
    objectsOf(readFileSync(file, 'utf8')),
  );
  const made = Object.values(VALUE_SETS).flatMap((values) => render(values, HELM));
  const objects = [
    ...new Map([...plain, ...made].map((object) => [JSON.stringify(object), object])).values(),
  ];
  const isForeign = ({ apiVersion }: KubernetesObject): boolean =>
    /coreos|grafana/.test(apiVersion);
  return {
    own: objects.filter((object) => !isForeign(object)),
    foreign: objects.filter(isForeign),
  };
}

/** Strict: a key that the schema has not is an error. `passed` counts objects: one without a schema passes unseen. */
function validate(
  objects: readonly object[],
  release: string,
): { status: number | null; stdout: string; passed: number } {
  const { status, stdout } = spawnSync(VALIDATE, ['-k', release, '--strict', '-'], {
    input: objects.map((object) => JSON.stringify(object)).join('\n---\n'),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const lines = stdout.split('\n');
  return {
    status,
    stdout: lines.filter((line) => !line.startsWith('INFO')).join('\n'),
    passed: lines.filter((line) => line.startsWith('INFO')).length,
  };
}
