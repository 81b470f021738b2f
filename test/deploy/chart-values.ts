/** Values that an operator may give to the chart: one feature each, and all of them. */
const FEATURES = {
  defaults: {},
  'an image of a registry': {
    image: { repository: 'registry.example:5000/tools/entrepot', tag: '9', pullSecrets: ['pull'] },
  },
  stopped: { replicas: 0 },
  'own upstreams': {
    config: {
      defaultUpstream: 'docker.io',
      upstreams: {
        'docker.io': {
          credentials: { username: 'org', password: { file: '/run/secrets/docker-hub/password' } },
        },
        'registry.example': {
          url: 'https://10.0.0.5:5000',
          tls: { ca: '/etc/entrepot/ca/corp/ca.crt' },
        },
        'ghcr.io': {},
      },
      sync: { schedule: '0 * * * *', rules: [{ image: 'ghcr.io/org/app', tags: ['v1'] }] },
    },
    secrets: ['docker-hub'],
    authorities: ['corp'],
  },
  'IPv6 alone': {
    config: { listen: '[::]:5000', metrics: { listen: '[::]:9101' } },
    service: { ipFamilyPolicy: 'SingleStack' },
  },
  TLS: { tls: { secret: 'mirror-tls' } },
  'a proxy': { env: { HTTPS_PROXY: 'http://proxy:3128' }, envFrom: ['proxy-login'] },
  'a claim that is there': { persistence: { existingClaim: 'store' } },
  'a storage class': {
    persistence: { size: '1Ti', storageClass: 'fast', accessMode: 'ReadWriteOncePod' },
  },
  'a fixed address': { service: { clusterIP: '10.96.0.50', annotations: { owner: 'platform' } } },
  'a balancer': { service: { type: 'LoadBalancer' } },
  'a node port': { service: { type: 'NodePort', nodePort: 30500 } },
  ingress: {
    config: { trustProxy: ['10.0.0.0/8'] },
    ingress: {
      enabled: true,
      className: 'nginx',
      host: 'mirror.example',
      tlsSecret: 'mirror-example',
    },
  },
  monitoring: {
    serviceMonitor: { enabled: true, interval: '15s', labels: { release: 'prometheus' } },
    prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
    dashboards: { enabled: true, annotations: { 'k8s-sidecar-target-directory': 'Entrepot' } },
  },
  'Grafana Operator': { dashboards: { grafanaOperator: { enabled: true } } },
  'network policy': {
    networkPolicy: {
      enabled: true,
      clients: [{ ipBlock: { cidr: '10.0.0.0/8' } }],
      scrapers: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
      upstreamPorts: [443, 5000],
    },
  },
  placing: {
    nodeSelector: { disk: 'large' },
    tolerations: [{ key: 'storage', operator: 'Exists' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'Exists' }] }],
        },
      },
    },
    priorityClassName: 'system-cluster-critical',
    podAnnotations: { team: 'platform' },
    resources: {},
    serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/pull' } },
    user: 1000,
  },
  'nodes of containerd': {
    nodes: { mode: 'write', address: 'http://$(NODE_IP):30500', nodeSelector: { pulls: 'here' } },
  },
  'nodes of k3s': {
    fullnameOverride: 'cache',
    nodes: {
      mode: 'write',
      kind: 'k3s',
      address: 'https://10.96.0.50:5000',
      authority: 'mirror-ca',
      fallback: false,
    },
  },
  access: {
    config: {
      access: {
        htpasswd: { file: '/run/secrets/mirror-users/htpasswd' },
        kubernetes: [
          {
            name: 'prod',
            issuer: 'https://kubernetes.default.svc',
            audience: 'entrepot',
            jwks: { file: '/etc/entrepot/ca/prod-keys/jwks.json' },
          },
        ],
        rules: [
          { who: ['anonymous'], may: ['pull'], images: ['docker.io/library/**'] },
          { who: ['user:alice', 'k8s:prod:team-a:*'], may: ['pull', 'list'], images: ['**'] },
        ],
      },
    },
    secrets: ['mirror-users'],
    authorities: ['prod-keys'],
    tls: { secret: 'mirror-tls' },
    nodes: { mode: 'write', address: 'https://$(NODE_IP):30500', authority: 'mirror-ca' },
  },
  'nodes let go': { nodes: { mode: 'remove', address: 'http://10.96.0.50:5000' } },
} as const;

export const ALL_ON: object = Object.values(FEATURES)
  .filter((values) => !('replicas' in values))
  .reduce<object>((all, values) => merge(all, values), {});

export const VALUE_SETS: Readonly<Record<string, object>> = { ...FEATURES, 'all on': ALL_ON };

function merge(one: object, other: object): object {
  const merged: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other) as [string, unknown][]) {
    const before = merged[key];
    merged[key] = isMap(before) && isMap(value) ? merge(before, value) : value;
  }
  return merged;
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
