import test from 'ava';
import { describeConfig } from '../../src/config/describe-config.ts';
import { formatYaml } from '../../src/config/yaml.ts';
import { load } from './config-folder.ts';

const YAML = `
listen: "[::]:5000"
store: { path: /srv/entrepot, maxBytes: 1GB }
upstreams:
  docker.io:
    credentials: { username: alice, password: { env: TOKEN } }
    tls: { ca: ca.pem }
    tags: { staleWhileRevalidate: 1h30m, immutable: ["*:v1"] }
  ghcr.io: ~
`;
const INPUT = {
  yaml: YAML,
  files: { 'ca.pem': '-----BEGIN CERTIFICATE-----\nhunter3\n' },
  env: { TOKEN: 'hunter2', HTTPS_PROXY: 'http://bob:hunter4@proxy.example:3128' },
};

test('what is in force is told in the words of the file and without a secret', (t) => {
  const text = formatYaml(describeConfig(load(t, INPUT).config));
  t.is(
    text,
    `listen: "[::]:5000"
admin: 127.0.0.1:5001
offline: false
store:
  path: /srv/entrepot
  maxBytes: 1GB
  minFreeBytes: 2GiB
  durability: full
defaultUpstream: docker.io
upstreams:
  docker.io:
    url: https://registry-1.docker.io
    credentials: { username: alice, password: (hidden) }
    tls: { ca: (set), insecure: false }
    proxy: http://(hidden)@proxy.example:3128
    hosts: []
    allow: [ "**" ]
    deny: []
    concurrency: 8
    tags: { ttl: 5m, revalidateTimeout: 2s, staleIfError: forever, staleWhileRevalidate: 1h30m, negativeTtl: 30s, immutable: [ "*:v1" ] }
  ghcr.io:
    url: https://ghcr.io
    credentials: anonymous
    tls: { insecure: false }
    proxy: http://(hidden)@proxy.example:3128
    hosts: []
    allow: [ "**" ]
    deny: []
    concurrency: 8
    tags: { ttl: 5m, revalidateTimeout: 2s, staleIfError: forever, staleWhileRevalidate: 0s, negativeTtl: 30s, immutable: [] }
`,
  );
});
