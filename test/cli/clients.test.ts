import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { issueCertificates } from '../helpers/certificate.ts';
import { ClientsCommand } from './run-clients.ts';

const YAML = `
listen: 10.0.0.7:5000
upstreams: { docker.io: ~, ghcr.io: ~, 'reg.example:5000': { url: http://10.0.0.5 } }
`;

test('clients docker: registry-mirrors for Docker Hub, hosts.toml for the others, each read as it is meant', async (t) => {
  const files = await new ClientsCommand(t, YAML).contents('docker');
  t.deepEqual(JSON.parse(files['/etc/docker/daemon.json']!), {
    'registry-mirrors': ['http://10.0.0.7:5000'],
  });
  const hosts = '[host."http://10.0.0.7:5000"]\n  capabilities = ["pull", "resolve"]\n';
  t.is(files['/etc/docker/certs.d/ghcr.io/hosts.toml'], hosts);
  t.is(files['/etc/docker/certs.d/reg.example:5000/hosts.toml'], hosts);
  t.is(Object.keys(files).length, 3);
});

test('clients docker: a mirror on loopback over plain http names all of loopback as insecure', async (t) => {
  for (const address of ['http://127.0.0.1:5000', 'http://[::1]:5000', 'http://localhost:5000']) {
    const files = await new ClientsCommand(t, YAML).contents('docker', '--address', address);
    t.deepEqual(JSON.parse(files['/etc/docker/daemon.json']!), {
      'registry-mirrors': [address],
      'insecure-registries': ['127.0.0.0/8', '::1/128'],
    });
  }
});

test('clients k3s and talos: documents that a parser reads as they are meant, with the authority', async (t) => {
  const { ca } = await issueCertificates({});
  const command = new ClientsCommand(t, YAML, { 'ca.crt': ca.toString() });
  const args = ['--address', 'https://[fd00::7]:5443', '--ca', 'ca.crt', '--no-fallback'];
  const files = await command.contents('k3s', ...args);
  const [registries] = parseAllDocuments(files['/etc/rancher/k3s/registries.yaml']!);
  const endpoint = ['https://[fd00::7]:5443'];
  t.deepEqual(registries!.toJS(), {
    mirrors: {
      'docker.io': { endpoint },
      'ghcr.io': { endpoint },
      'reg.example:5000': { endpoint },
    },
    configs: { '[fd00::7]:5443': { tls: { ca_file: '/etc/rancher/k3s/entrepot-ca.crt' } } },
  });
  const pem = files['/etc/rancher/k3s/entrepot-ca.crt']!;
  t.regex(pem, /^-----BEGIN CERTIFICATE-----\n/);
  const talos = (await command.contents('talos', ...args))['entrepot-talos.yaml']!;
  const documents = parseAllDocuments(talos).map((document) => document.toJS() as object);
  t.deepEqual(documents, [
    ...['docker.io', 'ghcr.io', 'reg.example:5000'].map((name) => ({
      apiVersion: 'v1alpha1',
      kind: 'RegistryMirrorConfig',
      name,
      endpoints: [{ url: 'https://[fd00::7]:5443' }],
      skipFallback: true,
    })),
    { apiVersion: 'v1alpha1', kind: 'RegistryTLSConfig', name: '[fd00::7]:5443', ca: pem.trim() },
  ]);
});

test('clients: an address that listen does not tell is asked for', async (t) => {
  t.deepEqual(await new ClientsCommand(t, 'listen: "[::]:5000"\n').run('podman'), {
    code: 64,
    stdout: '',
    stderr:
      'entrepot: listen: [::]:5000 tells no address that clients reach this mirror at; name it with --address http://HOST:5000\n',
  });
});

test('clients: over TLS the authority is the last certificate of the mirror, where that signed itself', async (t) => {
  const { ca, issued } = await issueCertificates({ server: {} });
  const { cert, key } = issued.server;
  const yaml = 'listen: { address: 10.0.0.7:443, tls: { cert: tls.crt, key: tls.key } }\n';
  const chains = { whole: cert.toString() + ca.toString(), alone: cert.toString() };
  const told = async (chain: string) => {
    const files = { 'tls.crt': chain, 'tls.key': key.toString() };
    return new ClientsCommand(t, yaml, files).printed('podman');
  };
  const [authority] = (await told(chains.whole)).files;
  t.is(authority!.path, '/etc/containers/certs.d/10.0.0.7/ca.crt');
  t.is(authority!.content.trim(), ca.toString().trim());
  const { files, notes } = await told(chains.alone);
  t.is(files.length, 1);
  t.is(
    notes[0],
    'the authority of the certificate is not named: clients must trust it already, or name it with --ca',
  );
});
