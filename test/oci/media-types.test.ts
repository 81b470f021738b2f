import test from 'ava';
import * as fc from 'fast-check';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  essence,
  isAcceptable,
  isIndexType,
  isManifestType,
  isSchema1Type,
  MANIFEST_ACCEPT,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/oci/media-types.ts';

const acceptable = test.macro<[string | undefined, boolean]>({
  exec: (t, accept: string | undefined, isTaken: boolean) =>
    t.is(isAcceptable(OCI_MANIFEST, accept), isTaken),
  title: (_, accept, isTaken) =>
    `Accept: ${JSON.stringify(accept)} ${isTaken ? 'takes' : 'does not take'} a manifest`,
});

const cases: [string | undefined, boolean][] = [
  [undefined, true],
  ['', true],
  ['  ', true],
  ['*/*', true],
  ['application/*', true],
  [OCI_MANIFEST, true],
  [OCI_MANIFEST.toUpperCase(), true],
  [` ${OCI_MANIFEST} `, true],
  [`${OCI_MANIFEST};q=0.1`, true],
  [`${OCI_MANIFEST}; q=1.000`, true],
  [`${OCI_INDEX},${OCI_MANIFEST}`, true],
  [`${OCI_INDEX}, */*;q=0.1`, true],
  [MANIFEST_ACCEPT, true],
  [`*/*;q=0, ${OCI_MANIFEST}`, true],
  [`application/*;q=0, ${OCI_MANIFEST};q=0.5`, true],
  [OCI_INDEX, false],
  [`${OCI_INDEX}, ${DOCKER_LIST}, ${DOCKER_MANIFEST}`, false],
  ['text/*', false],
  ['text/html, image/*', false],
  ['application/json', false],
  ['application', false],
  ['*', false],
  [',', false],
  [`${OCI_MANIFEST};q=0`, false],
  [`${OCI_MANIFEST};q=0.000`, false],
  [`${OCI_MANIFEST} ; q=0`, false],
  [`*/*, ${OCI_MANIFEST};q=0`, false],
  [`${OCI_MANIFEST};q=0, */*`, false],
  ['*/*, application/*;q=0', false],
  [`${OCI_MANIFEST}x`, false],
];
for (const [accept, isTaken] of cases) test(acceptable, accept, isTaken);

test('what the mirror asks upstreams for takes every type of manifest, and anything', (t) => {
  for (const type of [
    OCI_INDEX,
    OCI_MANIFEST,
    OCI_ARTIFACT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    'text/plain',
  ]) {
    t.true(isAcceptable(type, MANIFEST_ACCEPT), type);
  }
  t.true(MANIFEST_ACCEPT.startsWith(`${OCI_INDEX}, ${DOCKER_LIST}, ${OCI_MANIFEST}`));
  t.notRegex(MANIFEST_ACCEPT, /[\r\n]/);
});

test('the kinds of manifest do not overlap', (t) => {
  for (const type of [OCI_INDEX, DOCKER_LIST]) {
    t.true(isManifestType(type) && isIndexType(type) && !isSchema1Type(type), type);
  }
  for (const type of [OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT]) {
    t.true(isManifestType(type) && !isIndexType(type) && !isSchema1Type(type), type);
  }
  for (const type of [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED]) {
    t.true(!isManifestType(type) && !isIndexType(type) && isSchema1Type(type), type);
  }
  for (const type of ['', 'text/plain', 'application/json', 'application/octet-stream']) {
    t.false(isManifestType(type) || isIndexType(type) || isSchema1Type(type), type);
  }
});

test('the essence of a type is lower case and without parameters', (t) => {
  t.is(essence(undefined), '');
  t.is(essence(''), '');
  t.is(essence(' Text/HTML ; charset=utf-8;x=y'), 'text/html');
  t.is(essence(`${OCI_MANIFEST};charset=utf-8`), OCI_MANIFEST);
  t.is(essence(';'), '');
});

test('any Accept is understood or not, but never a fault', (t) => {
  fc.assert(
    fc.property(fc.string(), (accept) => typeof isAcceptable(OCI_INDEX, accept) === 'boolean'),
  );
  t.pass();
});
