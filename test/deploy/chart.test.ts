/** The chart: what Helm takes and refuses, and what the objects say that it makes of it. */
import { hashSync } from '@node-rs/bcrypt';
import { readFileSync, globSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { chartFiles, manifests } from '../../deploy/chart/generate.ts';
import { runMain } from '../cli/run-main.ts';
import { createCertificates } from '../helpers/certificate.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { testUnless } from '../helpers/needs.ts';
import { CHART, HELM, HELMS, NO_HELM, helm, render } from './chart.ts';
import { VALUE_SETS } from './chart-values.ts';

const PROJECT = join(import.meta.dirname, '..', '..');
const test = testUnless('the chart', NO_HELM);

test('what the chart has from elsewhere is as it is there, and nothing else is there', (t) => {
  const generated = chartFiles();
  for (const [path, text] of generated) {
    t.true(
      readFileSync(join(PROJECT, path), 'utf8') === text,
      `node deploy/chart/generate.ts: ${path}`,
    );
  }
  t.deepEqual(
    globSync('files/*/*', { cwd: CHART }).toSorted(),
    [...generated.keys()]
      .map((path) => path.replace(/.*entrepot\//, ''))
      .filter((path) => path.startsWith('files/'))
      .toSorted(),
  );
});

test('the plain manifests are what the chart renders', (t) => {
  for (const [path, text] of manifests(HELM)) t.is(readFileSync(join(PROJECT, path), 'utf8'), text);
});

test('the chart is of the version of the package', (t) => {
  const { version, appVersion } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as Record<
    string,
    unknown
  >;
  t.deepEqual([version, appVersion], [packageJson.version, packageJson.version]);
});

for (const program of HELMS) {
  const release = program.includes('helm3') ? 'Helm 3' : 'Helm 4';
  for (const [name, values] of Object.entries(VALUE_SETS)) {
    test(`${release} lints and renders the chart: ${name}`, (t) => {
      const { status, stdout, stderr } = helm('lint', values, program);
      t.is(status, 0, stdout + stderr);
      t.deepEqual(render(values, program), render(values));
    });
  }
}

/** What is said of Docker wherever there are rules of access: nothing in the chart's power. */
const ADVISORY = /^warning: access: Docker asks Docker Hub itself.*\n/m;

const REFUSED = {
  'two mirrors of one volume': { replicas: 2 },
  'a value that there is not': { replica: 1 },
  'a value that there is not, below': { service: { ports: 5000 } },
  'a key that the configuration has not': { config: { upstream: {} } },
  'a password': {
    config: { upstreams: { 'docker.io': { credentials: { username: 'a', password: 'b' } } } },
  },
  'a port that the pod does not have': { config: { listen: '0.0.0.0:5555' } },
  'an admin door on the network': { config: { admin: '0.0.0.0:5001' } },
  'a store beside the volume': { config: { store: { path: '/data' } } },
  'a time to stop in minutes': { config: { grace: '2m' } },
  'a size without a unit': { persistence: { size: 100 } },
  'an unknown type of service': { service: { type: 'ExternalName' } },
  'an unknown runtime': { nodes: { kind: 'rkt' } },
  'nodes without an address': { nodes: { mode: 'write' } },
  'an ingress without a host': { ingress: { enabled: true } },
  'a mirror as root': { user: 0 },
};

for (const [what, values] of Object.entries(REFUSED)) {
  test(`Helm refuses ${what}`, (t) => {
    for (const program of HELMS) t.not(helm('template', values, program).status, 0);
  });
}

test('the mirror takes each configuration that the chart makes, with what is mounted beside it', async (t) => {
  const folder = await createTempFolder(t);
  const { ca, server } = await createCertificates();
  const mounted = {
    'etc/tls/tls.crt': server.cert,
    'etc/tls/tls.key': server.key,
    'etc/ca/corp/ca.crt': ca,
    'secrets/docker-hub/password': 'secret',
    'secrets/mirror-users/htpasswd': `alice:${hashSync('wonder', 4)}\n`,
    'etc/ca/prod-keys/jwks.json': JSON.stringify({ keys: [await publicKey()] }),
  };
  for (const [path, contents] of Object.entries(mounted)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), contents, { mode: 0o600 });
  }
  const configs = new Set(
    Object.values(VALUE_SETS).flatMap((values) =>
      render(values).flatMap(({ data }) => data?.['entrepot.yaml'] ?? []),
    ),
  );
  t.true(configs.size >= 8);
  const file = join(folder, 'entrepot.yaml');
  for (const config of configs) {
    const here = config
      .replaceAll('/etc/entrepot/', `${folder}/etc/`)
      .replaceAll('/run/secrets/', `${folder}/secrets/`);
    await writeFile(file, here);
    const { code, stderr } = await runMain(['config', 'check', '--config', file], { cwd: folder });
    t.deepEqual([code, stderr.replace(ADVISORY, '')], [0, ''], here);
  }
});

/** As a cluster publishes it. */
async function publicKey(): Promise<JWK> {
  const { publicKey } = await generateKeyPair('ES256');
  return { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
}
