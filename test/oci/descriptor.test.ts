import test from 'ava';
import * as fc from 'fast-check';
import { formatPlatform, readDescriptor } from '../../src/oci/descriptor.ts';
import { isDigest } from '../../src/oci/digest.ts';

const MINIMAL = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: `sha256:${'a'.repeat(64)}`,
  size: 5,
};

test('a descriptor keeps what is needed to follow and to list it', (t) => {
  const full = {
    ...MINIMAL,
    artifactType: 'application/vnd.example',
    annotations: { a: 'b' },
    platform: { architecture: 'arm', os: 'linux', variant: 'v7' },
  };
  t.deepEqual<unknown, unknown>(readDescriptor(MINIMAL), MINIMAL);
  t.deepEqual<unknown, unknown>(readDescriptor(full), full);
  t.deepEqual<unknown, unknown>(
    readDescriptor({ ...full, urls: ['https://x'], data: 'YQ==', x: 1 }),
    full,
  );
  t.is(readDescriptor({ ...MINIMAL, size: 0 })?.size, 0);
  t.is(readDescriptor({ ...MINIMAL, size: Number.MAX_SAFE_INTEGER })?.size, 2 ** 53 - 1);
});

test('a descriptor without a media type can still be followed', (t) => {
  const { digest, size } = MINIMAL;
  t.is(readDescriptor({ digest, size })?.mediaType, '');
  t.is(readDescriptor({ digest, size, mediaType: 5 })?.mediaType, '');
});

test('fields of another shape are left out', (t) => {
  const odd = { ...MINIMAL, artifactType: 1, annotations: { a: 1 }, platform: { os: 'linux' } };
  t.deepEqual<unknown, unknown>(readDescriptor(odd), MINIMAL);
  for (const annotations of [[], null, 'x', { a: null }]) {
    t.false('annotations' in (readDescriptor({ ...MINIMAL, annotations }) ?? {}));
  }
});

test('without a digest and a size that can be trusted there is no descriptor', (t) => {
  for (const value of [
    undefined,
    null,
    5,
    'x',
    [],
    {},
    { ...MINIMAL, digest: undefined },
    { ...MINIMAL, digest: `sha256:${'A'.repeat(64)}` },
    { ...MINIMAL, digest: `md5:${'a'.repeat(32)}` },
    { ...MINIMAL, size: undefined },
    { ...MINIMAL, size: -1 },
    { ...MINIMAL, size: 0.5 },
    { ...MINIMAL, size: '5' },
    { ...MINIMAL, size: Infinity },
    { ...MINIMAL, size: NaN },
    { ...MINIMAL, size: 2 ** 53 },
  ]) {
    t.is(readDescriptor(value), undefined, JSON.stringify(value));
  }
});

test('any JSON value is a descriptor with a digest and a size, or none', (t) => {
  const near = fc.record(
    {
      mediaType: fc.jsonValue(),
      digest: fc.oneof(fc.constant(MINIMAL.digest), fc.jsonValue()),
      size: fc.oneof(fc.nat(), fc.jsonValue()),
      annotations: fc.jsonValue(),
      platform: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(near, fc.jsonValue()), (value) => {
      const found = readDescriptor(value);
      return found === undefined || (isDigest(found.digest) && Number.isSafeInteger(found.size));
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('a platform is named by its system, architecture and variant; an empty variant is none', (t) => {
  const platform = { os: 'linux', architecture: 'arm' };
  t.is(formatPlatform({ ...platform, variant: 'v7' }), 'linux/arm/v7');
  t.is(formatPlatform(platform), 'linux/arm');
  t.is(formatPlatform({ ...platform, variant: '' }), 'linux/arm');
});
