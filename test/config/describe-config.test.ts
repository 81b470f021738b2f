import test from 'ava';
import { describeConfig } from '../../src/config/describe-config.ts';
import { formatYaml } from '../../src/config/yaml.ts';
import { load } from './config-folder.ts';
import { createCertificates } from '../helpers/certificate.ts';

const YAML = `
listen: "[::]:5000"
metrics: { listen: ":9101" }
log: { level: warn, access: 12.5% }
store: { path: /srv/entrepot, maxBytes: 1GB, pins: ["docker.io/library/nginx:1.27"], inUse: /srv/in-use }
upstreams:
  docker.io:
    credentials: { username: alice, password: { env: TOKEN } }
    tls: { ca: ca.pem }
    bandwidth: 51200KiB/s
    tags: { staleWhileRevalidate: 1h30m, immutable: ["*:v1"] }
  ghcr.io: { hydrate: false }
`;
const { ca } = await createCertificates();
const INPUT = {
  yaml: YAML,
  files: { 'ca.pem': `hunter3\n${String(ca)}` },
  env: { TOKEN: 'hunter2', HTTPS_PROXY: 'http://bob:hunter4@proxy.example:3128' },
};

test('what is in force is told in the words of the file and without a secret', (t) => {
  const text = formatYaml(describeConfig(load(t, INPUT).config));
  t.is(
    text,
    `listen: "[::]:5000"
admin: 127.0.0.1:5001
metrics:
  listen: 0.0.0.0:9101
trustProxy: []
log:
  level: warn
  access: 12.5%
  audit: none
tracing:
  otlp: none
grace: 8s
offline: false
store:
  path: /srv/entrepot
  maxBytes: 1GB
  maxBlobShare: 50%
  minFreeBytes: 2GiB
  durability: full
  pins: [ docker.io/library/nginx:1.27 ]
  inUse: /srv/in-use
defaultUpstream: docker.io
upstreams:
  docker.io:
    url: https://registry-1.docker.io
    credentials: { username: alice, password: (hidden) }
    tls: { ca: (set), only: false, system: true, insecure: false }
    proxy: http://(hidden)@proxy.example:3128
    hosts: []
    storage: []
    realms: []
    allow: [ "**" ]
    deny: []
    concurrency: 8
    segments: auto
    ranges: auto
    hydrate: blob
    bandwidth: 50MiB/s
    tags: { ttl: 5m, revalidateTimeout: 2s, staleIfError: forever, staleWhileRevalidate: 1h30m, negativeTtl: 30s, immutable: [ "*:v1" ] }
  ghcr.io:
    url: https://ghcr.io
    credentials: anonymous
    tls: { system: true, insecure: false }
    proxy: http://(hidden)@proxy.example:3128
    hosts: []
    storage: []
    realms: []
    allow: [ "**" ]
    deny: []
    concurrency: 8
    segments: auto
    ranges: auto
    hydrate: off
    bandwidth: unlimited
    tags: { ttl: 5m, revalidateTimeout: 2s, staleIfError: forever, staleWhileRevalidate: 0s, negativeTtl: 30s, immutable: [] }
`,
  );
});

test('accounts are told in the forms of the file, their secrets hidden', (t) => {
  const key = '{"client_email":"mirror@project.example","private_key":"hunter2"}';
  const yaml = `
upstreams:
  docker.io:
    url: https://parent.example:5000/v2/docker.io
    credentials:
      - { username: alice, password: { env: TOKEN } }
      - { identityToken: { env: TOKEN } }
      - { token: { env: TOKEN } }
      - { provider: ibm, apiKey: { env: TOKEN } }
      - { provider: gcp, key: { file: key.json } }
      - { provider: gcp }
      - { provider: acr, tenant: t, client: c, secret: { env: TOKEN } }
      - { provider: ecr, region: eu-west-1, profile: p }
      - { provider: helper, name: pass }
  quay.io: { url: "https://parent.example/?ns=quay.io", credentials: { provider: ecr-public } }
`;
  const { upstreams } = describeConfig(
    load(t, { yaml, files: { 'key.json': key }, env: { TOKEN: 'hunter2' } }).config,
  );
  t.deepEqual(
    Object.values(upstreams).map(({ url, credentials }) => ({ url, credentials })),
    [
      {
        url: 'https://parent.example:5000/v2/docker.io',
        credentials: [
          { username: 'alice', password: '(hidden)' },
          { identityToken: '(hidden)' },
          { token: '(hidden)' },
          { username: 'iamapikey', password: '(hidden)' },
          { provider: 'gcp', key: '(hidden)' },
          { provider: 'gcp' },
          { provider: 'acr', tenant: 't', client: 'c', secret: '(hidden)' },
          { provider: 'ecr', region: 'eu-west-1', profile: 'p' },
          { provider: 'helper', name: 'pass', server: 'parent.example:5000' },
        ],
      },
      { url: 'https://parent.example/?ns=quay.io', credentials: { provider: 'ecr-public' } },
    ],
  );
});
