import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { toolPath } from '../clients/tools.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
export const CHART = join(PROJECT, 'deploy', 'chart', 'entrepot');

/** A Kubernetes object, as far as tests look at it. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec?: never;
  readonly data?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

/** Where Helm of the current release is, and the one before it where it was built. */
export const HELM = toolPath('helm');
export const HELMS: readonly string[] = [HELM, toolPath('helm3')].filter((path) =>
  existsSync(path),
);

export const NO_HELM = existsSync(HELM) ? undefined : 'build Helm: node test/clients/build.ts helm';

interface Rendered {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A Helm that Go built does not know of itself for which release it renders. */
const CLUSTER = ['--kube-version', '1.33.0', '--namespace', 'mirrors'];

/** What Helm makes of the chart with these values, or says about them. */
export function helm(
  command: 'template' | 'lint',
  values: object = {},
  program: string = HELM,
  chart: string = CHART,
): Rendered {
  const name = command === 'template' ? ['entrepot'] : ['--strict'];
  return spawnSync(program, [command, ...name, chart, ...CLUSTER, '--values', '-'], {
    input: JSON.stringify(values),
    encoding: 'utf8',
  });
}

export function objectsOf(rendered: string): KubernetesObject[] {
  return parseAllDocuments(rendered)
    .map((document) => document.toJS() as KubernetesObject | null)
    .filter((object) => object !== null);
}

const rendered = new Map<string, KubernetesObject[]>();

/** All objects with these values, made once. Throws what Helm says when it refuses them. */
export function render(values: object = {}, program: string = HELM): KubernetesObject[] {
  const key = JSON.stringify([values, program]);
  const known = rendered.get(key);
  if (known) return known;
  const { status, stdout, stderr } = helm('template', values, program);
  if (status !== 0) throw new Error(stderr);
  const objects = objectsOf(stdout);
  rendered.set(key, objects);
  return objects;
}
