import test from 'ava';
import * as fc from 'fast-check';
import { digestOf } from '../../src/oci/digest.ts';
import {
  parseTag,
  formatImageName,
  parseImageName,
  type ImageName,
} from '../../src/oci/reference.ts';

const DIGEST = digestOf(Buffer.from('image'));
const registry = fc.constantFrom('', 'docker.io/', 'reg.example:5000/', 'localhost:80/');
const path = fc.stringMatching(/^[a-z0-9]{1,8}([-.][a-z0-9]{1,8}){0,2}(\/[a-z0-9]{1,8}){0,3}$/);
const image: fc.Arbitrary<ImageName> = fc.record(
  {
    name: fc.tuple(registry, path).map(([host, repository]) => host + repository),
    tag: fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/).map(parseTag),
    digest: fc.uint8Array().map((bytes) => digestOf(bytes)),
  },
  { requiredKeys: ['name'] },
);

test('formatting the name of an image and taking it apart again are inverse', (t) => {
  fc.assert(
    fc.property(image, (name) => {
      t.deepEqual(parseImageName(formatImageName(name)), name);
    }),
  );
});

test('a colon is a port before the last slash and begins a tag behind it', (t) => {
  const cases: [string, object][] = [
    ['nginx', { name: 'nginx' }],
    ['nginx:1.27', { name: 'nginx', tag: '1.27' }],
    ['reg.example:5000/app', { name: 'reg.example:5000/app' }],
    ['reg.example:5000/app:v1', { name: 'reg.example:5000/app', tag: 'v1' }],
    [`app@${DIGEST}`, { name: 'app', digest: DIGEST }],
    [
      `reg.example:5000/app:v1@${DIGEST}`,
      { name: 'reg.example:5000/app', tag: 'v1', digest: DIGEST },
    ],
  ];
  for (const [text, name] of cases) t.deepEqual<object, object>(parseImageName(text), name, text);
});

test('what is no tag and no digest is refused as what it stands for', (t) => {
  const cases: [string, string][] = [
    ['app:', 'TAG_INVALID'],
    ['app:v1:v2', 'TAG_INVALID'],
    ['app:-v1', 'TAG_INVALID'],
    ['app@', 'DIGEST_INVALID'],
    ['app@v1', 'DIGEST_INVALID'],
    [`app@${DIGEST}@${DIGEST}`, 'DIGEST_INVALID'],
    ['app:v1@sha256:abc', 'DIGEST_INVALID'],
  ];
  for (const [text, code] of cases) {
    t.like(
      t.throws(() => parseImageName(text), { name: 'RegistryError' }, text),
      { code },
    );
  }
});
