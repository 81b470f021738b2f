import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { loadConfig } from '../../src/config/load.ts';
import { createFolder } from './config-folder.ts';

const EXAMPLE = fileURLToPath(new URL('../../deploy/entrepot.example.yaml', import.meta.url));

test('the example file is valid as it is, without a warning', (t) => {
  const { warnings } = loadConfig({ file: EXAMPLE, cwd: '/', env: {} });
  t.deepEqual(warnings, []);
});

test('the example file shows the defaults, but for what its comments name', (t) => {
  const cwd = createFolder(t, { 'entrepot.yaml': readFileSync(EXAMPLE, 'utf8') });
  const { upstreams: shown, ...example } = loadConfig({ cwd, env: {} }).config;
  const { upstreams: usual, ...defaults } = loadConfig({ cwd, env: {}, file: '/dev/null' }).config;
  t.deepEqual(example, { ...defaults, store: { ...defaults.store, path: `${cwd}/data` } });
  const docker = usual['docker.io']!;
  t.deepEqual(shown['docker.io'], {
    ...docker,
    hosts: ['hub.mirror.example'],
    tags: { ...docker.tags, immutable: ['*:v[0-9]*'] },
  });
  t.deepEqual(Object.keys(shown), ['docker.io', 'ghcr.io', 'quay.io', 'registry.k8s.io']);
});
