import test from 'ava';
import {
  WELL_KNOWN_REGISTRIES,
  canonicalRegistryName,
  parseRegistryName,
  pathAlias,
  registryOf,
} from '../../src/config/registries.ts';

test('docker.io, index.docker.io and registry-1.docker.io are one registry', (t) => {
  for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
    t.is(canonicalRegistryName(name), 'docker.io');
  }
  t.is(canonicalRegistryName('ghcr.io'), 'ghcr.io');
  t.is(registryOf('docker.io').url, 'https://registry-1.docker.io');
});

test('any other registry is reached at its own name', (t) => {
  t.is(registryOf('ghcr.io').url, 'https://ghcr.io');
  t.is(registryOf('reg.example:5000').url, 'https://reg.example:5000');
});

test('every well-known name is a name that a file may use', (t) => {
  for (const { name } of WELL_KNOWN_REGISTRIES) t.is(parseRegistryName(name), name);
});

test('the path alias of a name holds no colon', (t) => {
  t.is(pathAlias('reg.example:5000'), 'reg.example_5000');
  t.is(pathAlias('ghcr.io'), 'ghcr.io');
});

test('no name can be the path alias of another one', (t) => {
  t.throws(() => parseRegistryName(pathAlias('reg.example:5000')));
});
