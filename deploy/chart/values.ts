import { z } from 'zod';
import { configJsonSchema } from '../../src/config/schema.ts';

const NAMES = z.array(z.string().min(1));
const TEXTS = z.record(z.string(), z.string());
const ANY = z.record(z.string(), z.unknown());
/** A port of the pod: the chart names them in probes, services and policies. */
const PORTS = {
  listen: /^\S*:5000$/,
  admin: /^(127\.0\.0\.1|\[::1\]):5001$/,
  metrics: /^\S*:9101$/,
};

const IMAGE = z
  .strictObject({
    repository: z.string().min(1).default('entrepot'),
    tag: z.string().default('').describe('Left empty: the version of the chart.'),
    pullPolicy: z.enum(['IfNotPresent', 'Always', 'Never']).default('IfNotPresent'),
    pullSecrets: NAMES.default([]).describe('Names of Secrets.'),
  })
  .describe('Built from deploy/image/Dockerfile and brought to a registry, or to each node.');

const CONFIG = z
  .looseObject({
    listen: z
      .string()
      .regex(PORTS.listen)
      .default('0.0.0.0:5000')
      .describe("'[::]:5000' where pods have IPv6 addresses."),
    admin: z
      .string()
      .regex(PORTS.admin)
      .default('127.0.0.1:5001')
      .describe('Asks for no login and stays inside the pod: kubectl exec reaches it.'),
    metrics: z
      .strictObject({ listen: z.string().regex(PORTS.metrics).default('0.0.0.0:9101') })
      .describe("'[::]:9101' where pods have IPv6 addresses."),
    grace: z
      .string()
      .regex(/^[0-9]+s$/)
      .default('20s')
      .describe('In seconds. The pod is given ten more.'),
    store: z
      .looseObject({
        path: z.literal('/var/lib/entrepot').default('/var/lib/entrepot'),
        maxBytes: z.string().default('90GiB').describe('Below persistence.size.'),
      })
      .describe('What a volume claim holds.'),
  })
  .describe(
    'entrepot.yaml, all keys of docs/configuration.md. `~` removes a key here: write {} for the defaults of an upstream. Secrets never stand in it: it names files below /run/secrets.',
  );

const PERSISTENCE = z
  .strictObject({
    size: z
      .string()
      .regex(/^[0-9]+(Ki|Mi|Gi|Ti|Pi)$/)
      .default('100Gi'),
    storageClass: z.string().default('').describe("Left empty: the cluster's default."),
    accessMode: z.enum(['ReadWriteOnce', 'ReadWriteOncePod']).default('ReadWriteOnce'),
    existingClaim: z.string().default('').describe('A claim that is there already.'),
  })
  .describe('The volume of the store. It outlives the release.');

const SERVICE = z
  .strictObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']).default('ClusterIP'),
    clusterIP: z.string().default('').describe('A fixed one can stand in the files of nodes.'),
    nodePort: z.int().min(0).max(65_535).default(0).describe('0: the cluster chooses.'),
    ipFamilyPolicy: z
      .enum(['SingleStack', 'PreferDualStack', 'RequireDualStack'])
      .default('PreferDualStack'),
    annotations: TEXTS.default({}),
  })
  .describe('Where clients pull from: port 5000.');

const INGRESS = z
  .strictObject({
    enabled: z.boolean().default(false),
    className: z.string().default(''),
    host: z.string().default('').describe('The name that clients pull from.'),
    tlsSecret: z.string().default('').describe('Its certificate: Docker and others insist on one.'),
    annotations: TEXTS.default({
      'nginx.ingress.kubernetes.io/proxy-body-size': '0',
      'nginx.ingress.kubernetes.io/proxy-buffering': 'off',
      'nginx.ingress.kubernetes.io/proxy-request-buffering': 'off',
      'nginx.ingress.kubernetes.io/proxy-read-timeout': '900',
      'nginx.ingress.kubernetes.io/proxy-send-timeout': '900',
    }).describe('Large bodies pass as they come, and none is kept on the way.'),
  })
  .describe('Put the addresses of its pods into config.trustProxy.');

const MONITORING = {
  serviceMonitor: z
    .strictObject({
      enabled: z.boolean().default(false),
      interval: z
        .string()
        .regex(/^[0-9]+(s|m)$/)
        .default('30s'),
      labels: TEXTS.default({}).describe('Those that your Prometheus selects by.'),
    })
    .describe('For the Prometheus Operator. The job is `entrepot`, as the alerts know it.'),
  prometheusRule: z
    .strictObject({ enabled: z.boolean().default(false), labels: TEXTS.default({}) })
    .describe('The alerts and recording rules of grafana/rules.'),
  dashboards: z
    .strictObject({
      enabled: z.boolean().default(false),
      labels: TEXTS.default({ grafana_dashboard: '1' }).describe('That the side-car looks for.'),
      annotations: TEXTS.default({}),
      grafanaOperator: z
        .strictObject({
          enabled: z.boolean().default(false),
          instanceSelector: ANY.default({ matchLabels: { dashboards: 'grafana' } }),
        })
        .describe('A GrafanaDashboard for each, for the Grafana Operator.'),
    })
    .describe('A ConfigMap for each dashboard of grafana/dashboards.'),
};

const NETWORK_POLICY = z
  .strictObject({
    enabled: z.boolean().default(false),
    clients: z.array(ANY).default([]).describe('Peers that may reach port 5000. Left empty: all.'),
    scrapers: z.array(ANY).default([]).describe('Peers that may reach port 9101. Left empty: all.'),
    upstreamPorts: z
      .array(z.int().min(1).max(65_535))
      .min(1)
      .default([80, 443])
      .describe('TCP ports of upstreams, their storage and token services, and of a proxy.'),
  })
  .describe('Clients to 5000, scrapers to 9101; out to DNS and to upstreams.');

const NODES = z
  .strictObject({
    mode: z
      .enum(['none', 'write', 'remove'])
      .default('none')
      .describe(
        'write: a DaemonSet keeps the files while the mirror answers. remove: it takes them away from every node, then `helm uninstall` may follow.',
      ),
    kind: z
      .enum(['containerd', 'crio', 'podman', 'docker', 'k3s', 'rke2'])
      .default('containerd')
      .describe('What pulls images on the nodes.'),
    address: z
      .string()
      .regex(/^(https?:\/\/\S+)?$/)
      .default('')
      .describe(
        "How nodes reach the mirror, whose resolver does not know the cluster's names: http://$(NODE_IP):30500 with service.nodePort, or a fixed service.clusterIP.",
      ),
    fallback: z
      .boolean()
      .default(true)
      .describe(
        'Whether nodes may go to the upstream without it. With config.access they may not: an upstream is no way around a refusal.',
      ),
    authority: z
      .string()
      .default('')
      .describe('ConfigMap with ca.crt, which signed the certificate of the mirror.'),
    intervalSeconds: z.int().min(1).max(300).default(10).describe('Between two looks.'),
    failures: z
      .int()
      .min(1)
      .max(100)
      .default(3)
      .describe('So many looks in vain, of 5 s at most each, and the files are taken away.'),
    nodeSelector: TEXTS.default({}),
    tolerations: z.array(ANY).default([{ operator: 'Exists' }]),
  })
  .describe('Writes the configuration of container runtimes on the nodes.');

/** What can be said to the chart. `values.yaml`, its schema and its table of values are made from it. */
const VALUES = z.strictObject({
  fullnameOverride: z
    .string()
    .max(40)
    .default('')
    .describe('Of all objects. Left empty: from the release.'),
  image: IMAGE,
  replicas: z
    .int()
    .min(0)
    .max(1)
    .default(1)
    .describe('One process owns a store: never more than 1. 0 stops it for work on the volume.'),
  config: CONFIG,
  secrets: NAMES.default([]).describe(
    'Names of Secrets, mounted at /run/secrets/NAME: passwords of upstreams, users of config.access.',
  ),
  authorities: NAMES.default([]).describe(
    'Names of ConfigMaps, mounted at /etc/entrepot/ca/NAME: certificates, and keys of issuers for config.access.',
  ),
  tls: z
    .strictObject({
      secret: z.string().default('').describe('A Secret of type kubernetes.io/tls.'),
    })
    .describe('HTTPS at port 5000.'),
  env: TEXTS.default({}).describe('HTTPS_PROXY, NO_PROXY and their like, without passwords.'),
  envFrom: NAMES.default([]).describe('Names of Secrets whose keys become variables.'),
  persistence: PERSISTENCE,
  service: SERVICE,
  ingress: INGRESS,
  ...MONITORING,
  networkPolicy: NETWORK_POLICY,
  nodes: NODES,
  serviceAccount: z
    .strictObject({
      annotations: TEXTS.default({}).describe('A role of a cloud, for its registries.'),
    })
    .describe('Its token is not mounted.'),
  user: z.int().min(1).default(65_532).describe('User and group that the mirror runs as.'),
  resources: ANY.default({
    requests: { cpu: '100m', memory: '256Mi' },
    limits: { memory: '1Gi' },
  }),
  podAnnotations: TEXTS.default({}),
  nodeSelector: TEXTS.default({}),
  tolerations: z.array(ANY).default([]),
  affinity: ANY.default({}),
  priorityClassName: z.string().default(''),
});

/** A part of a JSON Schema, as far as this chart needs it. */
export interface Schema {
  readonly description?: string;
  readonly type?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly [keyword: string]: unknown;
}

/** The values that the chart has defaults of. */
export function chartValues(): Schema {
  return z.toJSONSchema(VALUES, { io: 'input' }) as Schema;
}

/** The schema of all values: those of the chart, and below `config` the keys of the configuration. */
export function valuesSchema(): Schema {
  const values = chartValues();
  const { config = {} } = values.properties ?? {};
  const known = withoutLookaround(configJsonSchema()) as Schema;
  return {
    ...values,
    title: 'Values of the chart entrepot',
    properties: {
      ...values.properties,
      config: { ...known, ...merged(known, config), $schema: undefined, title: undefined },
      // What other charts may read from a parent chart.
      global: { type: 'object' },
    },
  };
}

/** The keys of the configuration, some of them narrowed to what the chart can run. */
function merged(known: Schema, narrowed: Schema): Schema {
  const properties = Object.entries(narrowed.properties ?? {}).map(([key, schema]) => {
    const other = known.properties?.[key];
    const inner = schema.properties && other ? objectOf(other) : undefined;
    return [key, inner ? { ...inner, ...merged(inner, schema) } : schema];
  });
  return {
    ...(narrowed.description && { description: narrowed.description }),
    type: 'object',
    properties: { ...known.properties, ...(Object.fromEntries(properties) as object) },
    additionalProperties: false,
  };
}

/** Of a key that may also be something else, the form with keys. */
function objectOf(schema: Schema): Schema | undefined {
  const forms = [schema, ...((schema['anyOf'] as Schema[] | undefined) ?? [])];
  return forms.find(({ properties }) => properties);
}

/** Helm reads patterns by RE2, which has no look-around: `entrepot config check` judges those values. */
function withoutLookaround(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutLookaround);
  if (typeof node !== 'object' || node === null) return node;
  const entries = Object.entries(node).filter(
    ([key, value]) => key !== 'pattern' || !/\(\?[=!<]/.test(String(value)),
  );
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutLookaround(value)]));
}
