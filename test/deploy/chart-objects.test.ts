/** What the chart's objects promise beyond their schemas: ports, walls, secrets, one image, and what belongs together. */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { createTempFolder } from '../helpers/mirror.ts';
import { testUnless } from '../helpers/needs.ts';
import { CHART, HELM, NO_HELM, helm, render, type KubernetesObject } from './chart.ts';
import { ALL_ON, VALUE_SETS } from './chart-values.ts';

const test = testUnless('the objects of the chart', NO_HELM);
const GRAFANA = join(import.meta.dirname, '..', '..', 'grafana');

type Labels = Readonly<Record<string, string>>;
interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string; readonly host?: string };
}
interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly ports?: readonly { name: string; containerPort: number }[];
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
  readonly securityContext: unknown;
  readonly volumeMounts: readonly { name: string; mountPath: string; readOnly?: boolean }[];
}
interface Pod {
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly automountServiceAccountToken: boolean;
  readonly containers: readonly [Container];
  readonly volumes: readonly Readonly<Record<string, unknown>>[];
}

test('the probes ask the metrics listener at the address of the pod, whatever family that is of', (t) => {
  const [mirror] = podOf(render(), 'StatefulSet').containers;
  t.deepEqual(mirror.ports, [
    { name: 'registry', containerPort: 5000 },
    { name: 'metrics', containerPort: 9101 },
  ]);
  const ask = (path: string): object => ({ path, port: 'metrics' });
  t.deepEqual(mirror.startupProbe.httpGet, ask('/healthz'));
  t.deepEqual(mirror.readinessProbe.httpGet, ask('/readyz'));
  t.deepEqual(mirror.livenessProbe.httpGet, ask('/healthz'));
});

test('every container runs the image of the chart, behind the same walls', (t) => {
  for (const values of Object.values(VALUE_SETS)) {
    const pods = render(values).filter(({ kind }) => kind.endsWith('Set'));
    for (const { kind } of pods) {
      const pod = podOf(render(values), kind);
      const [container] = pod.containers;
      t.is(pod.containers.length, 1);
      t.is(container.image, imageOf(values));
      t.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      t.deepEqual(pod.securityContext['seccompProfile'], { type: 'RuntimeDefault' });
      t.false(pod.automountServiceAccountToken);
    }
  }
  const { securityContext } = podOf(render(), 'StatefulSet');
  t.is(securityContext['runAsNonRoot'], true);
});

test('the pod is given more time than the mirror takes to stop', (t) => {
  for (const [grace, seconds] of [
    [undefined, 30],
    ['90s', 100],
  ] as const) {
    const pod = podOf(render(grace === undefined ? {} : { config: { grace } }), 'StatefulSet');
    t.is(pod.terminationGracePeriodSeconds, seconds);
  }
});

test('the budget of the store leaves room on the volume that the chart claims', (t) => {
  const config = render().find(({ kind }) => kind === 'ConfigMap')?.data?.['entrepot.yaml'] ?? '';
  const claim = JSON.stringify(render().find(({ kind }) => kind === 'StatefulSet')?.spec);
  const budget = Number(/maxBytes: (\d+)GiB/.exec(config)?.[1]);
  const volume = Number(/"storage":"(\d+)Gi"/.exec(claim)?.[1]);
  t.true(budget < volume, `${budget} of ${volume}`);
});

test('secrets are mounted as files; the chart makes none, and nodes are told of none', (t) => {
  const values = VALUE_SETS['own upstreams']!;
  const objects = render({ ...ALL_ON, ...values });
  t.deepEqual(
    objects.filter(({ kind }) => kind === 'Secret'),
    [],
  );
  const [mirror] = podOf(objects, 'StatefulSet').containers;
  const mount = mirror.volumeMounts.find(
    ({ mountPath }) => mountPath === '/run/secrets/docker-hub',
  );
  t.is(mount?.readOnly, true);
  const nodes = objects.find(({ metadata }) => metadata.name.endsWith('-nodes'));
  t.notRegex(nodes!.data!['entrepot.yaml']!, /credentials|tls|sync|secrets/);
  t.regex(
    nodes!.data!['entrepot.yaml']!,
    /registry\.example:\n {4}url: https:\/\/10\.0\.0\.5:5000/,
  );
});

test('with rules of access their files are mounted, and nodes have no way around the mirror', (t) => {
  const objects = render(VALUE_SETS['access']);
  const [mirror] = podOf(objects, 'StatefulSet').containers;
  const places = mirror.volumeMounts.map(({ mountPath }) => mountPath);
  t.true(places.includes('/run/secrets/mirror-users'));
  t.true(places.includes('/etc/entrepot/ca/prod-keys'));
  const [nodes] = podOf(objects, 'DaemonSet').containers;
  t.true(nodes.args.includes('--no-fallback'));
  t.false(
    podOf(render(VALUE_SETS['nodes of containerd']), 'DaemonSet').containers[0].args.includes(
      '--no-fallback',
    ),
  );
  const given = objects.find(({ metadata }) => metadata.name.endsWith('-nodes'));
  t.notRegex(given!.data!['entrepot.yaml']!, /access|htpasswd|alice/);
});

test('every selector finds the pods and services that it means', (t) => {
  const objects = render(ALL_ON);
  const pods = objects
    .filter(({ kind }) => kind.endsWith('Set'))
    .map(
      ({ spec }) =>
        (spec as unknown as { template: { metadata: { labels: Labels } } }).template.metadata
          .labels,
    );
  const found = (selector: Labels, among: readonly Labels[]): number =>
    among.filter((labels) =>
      Object.entries(selector).every(([key, value]) => labels[key] === value),
    ).length;
  const of = (kind: string): unknown[] =>
    objects.filter((object) => object.kind === kind).map(({ spec }) => spec);
  for (const { selector } of of('Service') as { selector: Labels }[])
    t.is(found(selector, pods), 1);
  for (const { podSelector } of of('NetworkPolicy') as { podSelector: { matchLabels: Labels } }[]) {
    t.is(found(podSelector.matchLabels, pods), 1);
  }
  const services = objects.filter(({ kind }) => kind === 'Service');
  const [{ selector, endpoints, jobLabel }] = of('ServiceMonitor') as [
    { selector: { matchLabels: Labels }; endpoints: { port: string }[]; jobLabel: string },
  ];
  const scraped = services.filter(
    ({ metadata }) => found(selector.matchLabels, [metadata.labels]) === 1,
  );
  t.is(scraped.length, 1);
  t.true(JSON.stringify(scraped[0]!.spec).includes(`"name":"${endpoints[0]!.port}","port":9101`));
  // The alerts ask for the job of this name.
  t.is(scraped[0]!.metadata.labels[jobLabel], 'entrepot');
});

test('metrics are at the headless service alone: a balancer and an ingress show port 5000 and no other', (t) => {
  const services = render(ALL_ON).filter(({ kind }) => kind === 'Service');
  const [open] = services.filter(({ metadata }) => !metadata.name.endsWith('-headless'));
  const { ports } = open!.spec! as { ports: { port: number }[] };
  t.deepEqual(
    ports.map(({ port }) => port),
    [5000],
  );
});

test('a node lends one folder, that of its runtime, and nothing else of it', (t) => {
  const folders = {
    containerd: '/etc/containerd',
    crio: '/etc/containers',
    podman: '/etc/containers',
    docker: '/etc/docker',
    k3s: '/etc/rancher/k3s',
    rke2: '/etc/rancher/rke2',
  };
  for (const [kind, path] of Object.entries(folders)) {
    const pod = podOf(
      render({ nodes: { mode: 'write', kind, address: 'http://10.0.0.1:5000' } }),
      'DaemonSet',
    );
    t.deepEqual(
      pod.volumes.filter((volume) => 'hostPath' in volume),
      [{ name: 'node', hostPath: { path, type: 'DirectoryOrCreate' } }],
    );
    const [{ args, volumeMounts }] = pod.containers;
    t.is(volumeMounts.find(({ name }) => name === 'node')?.mountPath, `/host${path}`);
    t.deepEqual(args.slice(args.indexOf('--') + 1, -2), [
      'entrepot',
      'clients',
      kind,
      '--config=/etc/entrepot/entrepot.yaml',
    ]);
  }
});

test('the dashboards in the cluster are those of grafana/dashboards', (t) => {
  const boards = render({ dashboards: { enabled: true } }).filter(
    ({ metadata }) => metadata.labels['grafana_dashboard'] === '1',
  );
  t.deepEqual(
    boards.map(({ data }) => Object.values(data!).map((text) => JSON.parse(text) as unknown)),
    globSync(join(GRAFANA, 'dashboards', '*.json'))
      .toSorted()
      .map((file) => [JSON.parse(readFileSync(file, 'utf8'))]),
  );
});

test('the notes after an installation say the next command for what was asked', (t) => {
  const notesOf = (values: object): string => {
    const args = ['install', 'entrepot', CHART, '--dry-run=client', '--values', '-'];
    const { stdout, stderr, status } = spawnSync(HELM, args, {
      input: JSON.stringify(values),
      encoding: 'utf8',
    });
    t.is(status, 0, stderr);
    return stdout.slice(stdout.indexOf('NOTES:'));
  };
  t.regex(notesOf({}), /entrepot clients containerd --address http:\/\/ADDRESS:5000\n/);
  t.regex(notesOf({ ...VALUE_SETS['a node port'] }), /--address http:\/\/NODE:30500\n/);
  t.regex(notesOf({ ...VALUE_SETS['ingress'] }), /--address https:\/\/mirror\.example\n/);
  t.regex(
    notesOf({ ...VALUE_SETS['TLS'], service: { clusterIP: '10.96.0.50' } }),
    /--address https:\/\/10\.96\.0\.50:5000\n/,
  );
  t.regex(notesOf({ ...VALUE_SETS['nodes let go'] }), /`helm uninstall` may follow/);
});

test('the packaged chart renders as the folder does', async (t) => {
  const folder = await createTempFolder(t);
  const packed = spawnSync(HELM, ['package', CHART, '--destination', folder], { encoding: 'utf8' });
  t.is(packed.status, 0, packed.stderr);
  const [file] = globSync(join(folder, '*.tgz'));
  t.is(basename(file!), `entrepot-${packageJson.version}.tgz`);
  t.is(helm('template', ALL_ON, HELM, file).stdout, helm('template', ALL_ON).stdout);
});

function podOf(objects: readonly KubernetesObject[], kind: string): Pod {
  const { spec } = objects.find((object) => object.kind === kind)!;
  return (spec as unknown as { template: { spec: Pod } }).template.spec;
}

function imageOf({ image }: { image?: { repository: string; tag: string } }): string {
  return image ? `${image.repository}:${image.tag}` : `entrepot:${packageJson.version}`;
}
