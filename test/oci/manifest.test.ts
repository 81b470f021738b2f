import test from 'ava';
import * as fc from 'fast-check';
import { digestOf } from '../../src/oci/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  ManifestError,
  parseManifest,
  type Manifest,
} from '../../src/oci/manifest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/oci/media-types.ts';
import { buildArtifact, buildImage, buildIndex, oddJson } from '../helpers/image.ts';

const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

function descriptor(seed: string, mediaType = LAYER) {
  return { mediaType, digest: digestOf(Buffer.from(seed)), size: seed.length };
}

const config = descriptor('config', CONFIG);
const layers = [descriptor('one'), descriptor('two')];

function parse(document: unknown, contentType?: string): Manifest {
  return parseManifest(Buffer.from(oddJson(document)), contentType);
}

const GENERIC = [undefined, '', 'text/plain', 'application/json', 'application/octet-stream'];

const derives = test.macro<[object, string]>({
  exec: (t, document: object, expected: string) => {
    for (const type of GENERIC) {
      t.is(parse(document, type).mediaType, expected, String(type));
      if (type) t.is(parse(document, `${type}; charset=utf-8`).mediaType, expected);
    }
  },
  title: (_, document, expected) =>
    `without a telling Content-Type, ${Object.keys(document).join(', ')} is ${expected}`,
});

test(derives, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, OCI_INDEX);
test(derives, { schemaVersion: 2, mediaType: DOCKER_LIST, manifests: [] }, DOCKER_LIST);
test(derives, { mediaType: DOCKER_MANIFEST, schemaVersion: 2, config, layers }, DOCKER_MANIFEST);
test(derives, { mediaType: OCI_ARTIFACT, blobs: [] }, OCI_ARTIFACT);
test(derives, { schemaVersion: 2, manifests: [] }, OCI_INDEX);
test(derives, { schemaVersion: 2, config, layers }, OCI_MANIFEST);
test(derives, { config, layers, unknown: [{ a: 1 }] }, OCI_MANIFEST);

test('a Content-Type that says something is believed, without its parameters', (t) => {
  for (const type of [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST, OCI_ARTIFACT]) {
    t.is(parse({ schemaVersion: 2, config, layers }, type).mediaType, type);
    t.is(parse({ mediaType: type }, `${type.toUpperCase()} ; charset=utf-8`).mediaType, type);
  }
});

test('what the document says of its type counts, whatever its Content-Type is', (t) => {
  for (const [own, header, counts] of [
    [OCI_MANIFEST, DOCKER_MANIFEST, OCI_MANIFEST],
    [DOCKER_LIST, OCI_INDEX, DOCKER_LIST],
    [OCI_MANIFEST, OCI_INDEX, OCI_MANIFEST],
    [OCI_MANIFEST, DOCKER_SCHEMA1_SIGNED, OCI_MANIFEST],
    ['application/vnd.other', OCI_MANIFEST, OCI_MANIFEST],
  ] as const) {
    const document = { schemaVersion: 2, mediaType: own, config, layers, manifests: [] };
    t.is(parse(document, header).mediaType, counts);
  }
});

test('schema 1 is refused by type, by field and by header, with a hint', (t) => {
  const schema1 = { schemaVersion: 1, name: 'old', tag: 'v1', fsLayers: [], history: [] };
  for (const [document, header] of [
    [schema1, undefined],
    [schema1, 'text/plain'],
    [schema1, 'application/json'],
    [schema1, OCI_MANIFEST],
    [schema1, DOCKER_SCHEMA1],
    [schema1, `${DOCKER_SCHEMA1_SIGNED}; charset=utf-8`],
    [{ schemaVersion: 2, config, layers }, DOCKER_SCHEMA1],
    [{ mediaType: DOCKER_SCHEMA1_SIGNED, config, layers }, undefined],
  ] as const) {
    t.throws(() => parse(document, header), { instanceOf: ManifestError, message: /schema 1/ });
  }
});

test('the successors are all that a manifest needs, in order, without its subject', (t) => {
  const subject = descriptor('subject', OCI_MANIFEST);
  const image = parse({ schemaVersion: 2, mediaType: OCI_MANIFEST, subject, layers, config });
  t.deepEqual<unknown, unknown>(image.successors, [config, ...layers]);
  t.is(image.subject, subject.digest);
  const manifests = [descriptor('a', OCI_MANIFEST), descriptor('b', DOCKER_MANIFEST)];
  t.deepEqual<unknown, unknown>(parse({ mediaType: OCI_INDEX, manifests }).successors, manifests);
  const blobs = [descriptor('x'), descriptor('y')];
  t.deepEqual<unknown, unknown>(parse({ mediaType: OCI_ARTIFACT, blobs }).successors, blobs);
  t.deepEqual(parse({ mediaType: OCI_INDEX, manifests: [] }).successors, []);
  t.deepEqual(parse({ mediaType: OCI_INDEX, manifests: null }).successors, []);
});

test('every generated image, index and artifact is understood', (t) => {
  for (const docker of [false, true]) {
    const image = buildImage({ seed: 1, layers: [10, 20], docker });
    const { successors, mediaType } = parseManifest(image.manifest.bytes);
    t.is(mediaType, image.manifest.mediaType);
    t.deepEqual<string[], string[]>(
      successors.map(({ digest }) => digest),
      image.blobs.map(({ digest }) => digest),
    );
    const platform = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const index = parseManifest(buildIndex([{ image, platform }], { docker }).manifest.bytes);
    t.deepEqual<unknown, unknown>(
      index.successors.map(({ digest, platform: found }) => [digest, found]),
      [[image.manifest.digest, platform]],
    );
  }
  const subject = buildImage({ seed: 2, layers: [] }).manifest;
  const artifact = buildArtifact({
    seed: 3,
    artifactType: 'application/vnd.example',
    subject,
    annotations: { a: 'b' },
  });
  const parsed = parseManifest(artifact.manifest.bytes);
  t.is<string | undefined, string>(parsed.subject, subject.digest);
  t.is(parsed.artifactType, 'application/vnd.example');
  t.deepEqual(parsed.annotations, { a: 'b' });
});

test('the artifact type is the own one, else the type of the config, and none for an index', (t) => {
  t.is(parse({ artifactType: 'a/b', config, layers }).artifactType, 'a/b');
  t.is(parse({ config, layers }).artifactType, CONFIG);
  t.is(parse({ artifactType: '', config, layers }).artifactType, CONFIG);
  t.is(parse({ artifactType: 5, config, layers }).artifactType, CONFIG);
  t.is(parse({ manifests: [] }).artifactType, undefined);
  t.is(parse({ artifactType: 'a/b', manifests: [] }).artifactType, 'a/b');
});

test('annotations that are no map of strings are left out', (t) => {
  for (const annotations of [null, [], 'x', { a: 1 }, { a: null }, 5]) {
    t.is(parse({ manifests: [], annotations }).annotations, undefined);
  }
  t.deepEqual(parse({ manifests: [], annotations: {} }).annotations, {});
});

test('a list with something that is no descriptor is refused and says where', (t) => {
  for (const broken of [
    null,
    5,
    'x',
    {},
    { ...layers[0], digest: 'x' },
    { ...layers[0], digest: `md5:${'a'.repeat(32)}` },
    { ...layers[0], size: -1 },
    { ...layers[0], size: 1.5 },
    { ...layers[0], size: '5' },
    { ...layers[0], size: 2 ** 60 },
    { mediaType: LAYER, size: 5 },
  ]) {
    t.throws(() => parse({ config, layers: [layers[0], broken] }), {
      instanceOf: ManifestError,
      message: /layers\[1\]/,
    });
    t.throws(() => parse({ manifests: [broken] }), { instanceOf: ManifestError });
    if (broken !== null) {
      t.throws(() => parse({ config: broken, layers }), { instanceOf: ManifestError });
    }
  }
});

test('what is no manifest is refused', (t) => {
  for (const text of [
    '',
    ' ',
    'null',
    '5',
    '"x"',
    '[]',
    '{}',
    'true',
    '<html></html>',
    '{"errors":[{"code":"DENIED"}]}',
    '{"mediaType":"application/vnd.oci.image.config.v1+json"}',
    '{"schemaVersion":2}',
    '{"config":{}}',
    '{"layers":[]}',
    '{"schemaVersion":2,}',
    '{"manifests":[]}x',
    '{"manifests":{}}',
    '['.repeat(100_000),
    `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
  ]) {
    t.throws(
      () => parseManifest(Buffer.from(text)),
      { instanceOf: ManifestError },
      text.slice(0, 50),
    );
  }
  t.throws(() => parseManifest(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])), {
    instanceOf: ManifestError,
  });
  t.throws(() => parseManifest(Buffer.from('{"manifests":[]}', 'utf16le')), {
    instanceOf: ManifestError,
  });
});

test('4 MiB are read, a byte more is refused unread', (t) => {
  const start = '{"schemaVersion":2,"manifests":[],"x":"';
  const fill = (size: number): Buffer =>
    Buffer.from(`${start}${'x'.repeat(size - start.length - 2)}"}`);
  t.is(MAX_MANIFEST_BYTES, 4 * 1024 * 1024);
  t.is(fill(MAX_MANIFEST_BYTES).length, MAX_MANIFEST_BYTES);
  t.is(parseManifest(fill(MAX_MANIFEST_BYTES)).mediaType, OCI_INDEX);
  t.throws(() => parseManifest(fill(MAX_MANIFEST_BYTES + 1)), {
    instanceOf: ManifestError,
    message: /larger/,
  });
  t.throws(() => parseManifest(Buffer.alloc(MAX_MANIFEST_BYTES + 1)), {
    instanceOf: ManifestError,
  });
});

test('2,000 blobs of one manifest are read, one more is refused; an index may list as many as its size allows', (t) => {
  const many = Array.from({ length: 2_000 }, (_, n) => descriptor(`layer ${n}`));
  t.is(parse({ config, layers: many.slice(1) }).successors.length, 2_000);
  t.throws(() => parse({ config, layers: many }), { instanceOf: ManifestError });
  t.throws(() => parse({ mediaType: OCI_ARTIFACT, blobs: [...many, config] }), {
    instanceOf: ManifestError,
  });
  const children = [...many, ...many].map((each) => ({ ...each, mediaType: OCI_MANIFEST }));
  t.is(parse({ manifests: children }).successors.length, 4_000);
});

test('a document may not touch prototypes', (t) => {
  const parsed = parseManifest(
    Buffer.from('{"__proto__":{"subject":{"x":1}},"constructor":5,"manifests":[],"toString":1}'),
  );
  t.is(parsed.mediaType, OCI_INDEX);
  t.is(parsed.subject, undefined);
  t.is(({} as Record<string, unknown>)['subject'], undefined);
});

const field = fc.constantFrom(
  'schemaVersion',
  'mediaType',
  'manifests',
  'config',
  'layers',
  'blobs',
  'subject',
  'artifactType',
  'annotations',
  'x',
);
const type = fc.constantFrom(
  OCI_INDEX,
  OCI_MANIFEST,
  DOCKER_LIST,
  DOCKER_SCHEMA1,
  'text/plain',
  '',
);
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(1, 2, null, [], {}, config, layers, [config, null]),
  type,
);

test('whatever the bytes are, they are a manifest or a ManifestError', (t) => {
  const document = fc
    .array(fc.tuple(field, value), { maxLength: 8 })
    .map((entries) => Buffer.from(JSON.stringify(Object.fromEntries(entries))));
  const bytes = fc.oneof(
    { weight: 5, arbitrary: document },
    fc.uint8Array(),
    fc.json().map((text) => Buffer.from(text)),
    fc.tuple(document, fc.nat(200), fc.nat(255)).map(([whole, position, byte]) => {
      const damaged = Buffer.from(whole);
      if (position < damaged.length) damaged[position] = byte;
      return damaged;
    }),
  );
  const contentType = fc.option(fc.oneof(type, fc.string()), { nil: undefined });
  fc.assert(
    fc.property(bytes, contentType, (given, header) => {
      try {
        const manifest = parseManifest(given, header);
        return manifest.mediaType !== '' && Array.isArray(manifest.successors);
      } catch (error) {
        return error instanceof ManifestError;
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
