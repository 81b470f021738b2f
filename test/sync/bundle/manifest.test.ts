import * as fc from 'fast-check';
import test from 'ava';
import type { BundledImage } from '../../../src/api/bundle-api.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { BundleError } from '../../../sync/bundle/bundle-error.ts';
import {
  compareImages,
  compareTexts,
  formatManifest,
  type BundleManifest,
} from '../../../sync/bundle/bundle-manifest.ts';
import { cutBundle, cutContent } from '../../../sync/bundle/cut-bundle.ts';
import { TAIL_BYTES } from '../../../sync/bundle/part-layout.ts';
import { parseManifest } from '../../../sync/bundle/parse-manifest.ts';

const A = digestOf(Buffer.from('a'));
const B = digestOf(Buffer.from('b'));
const [LOW, HIGH] = A < B ? [A, B] : [B, A];

const IMAGE: BundledImage = {
  name: 'docker.io/library/alpine',
  tag: '3.22',
  digest: LOW,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  size: 10,
};

const MANIFEST: BundleManifest = {
  format: 1,
  series: 'b1946ac9-2492-d234-7c62-35b4d2611184',
  number: 7,
  site: 'c2a57bd0-3603-e4a3-8d58-46c5fe272222',
  index: { digest: digestOf(Buffer.from('index')), size: 5 },
  hasParity: false,
  cuts: [
    [1, 2],
    [4, 0],
  ],
  images: [IMAGE],
  released: ['docker.io/library/alpine:3.21', 'ghcr.io/org/app:v1'],
  files: [
    { name: 'db.tar.gz', digest: A, size: 1 },
    { name: 'root', digest: B, size: 1 },
  ],
  blobs: [{ digest: LOW, size: 10 }],
  needs: [{ digest: HIGH, size: 20 }],
};

const parse = (manifest: unknown): BundleManifest =>
  parseManifest(formatManifest(manifest as BundleManifest));

test('what is written is read, with each key in one place', (t) => {
  t.deepEqual(parse(MANIFEST), MANIFEST);
  const turned = Object.fromEntries(Object.entries(MANIFEST).toReversed()) as never;
  t.deepEqual(formatManifest(turned), formatManifest(MANIFEST));
  const { site: _, ...everywhere } = MANIFEST;
  t.deepEqual(parse(everywhere), everywhere);
});

const C = digestOf(Buffer.from('c'));
const RECIPE = { digest: C, size: 100, recipe: { digest: A, size: 99 }, sources: [HIGH] };

test('a recipe makes what is not there of what is needed, is smaller than that, and has four sources at most', (t) => {
  const made = { ...MANIFEST, recipes: [RECIPE] };
  t.deepEqual(parse(made), made);
  const more = ['d', 'e', 'f', 'g'].map((seed) => ({
    digest: digestOf(Buffer.from(seed)),
    size: 1,
  }));
  const needs = [...MANIFEST.needs, ...more].toSorted((a, b) => compareTexts(a.digest, b.digest));
  const four = { ...RECIPE, sources: more.map(({ digest }) => digest) };
  t.deepEqual(parse({ ...made, needs, recipes: [four] }).recipes, [four]);
  const wrong: readonly [string, unknown, object?][] = [
    ['recipes', []],
    ['recipes', null],
    ['recipes', {}],
    ['recipes', Array.from({ length: 100_001 }, () => RECIPE)],
    ['recipes[0]', [null]],
    ['recipes[0]', [{ ...RECIPE, recipe: undefined }]],
    ['recipes[0]', [{ ...RECIPE, digest: LOW }]],
    ['recipes[0]', [{ ...RECIPE, digest: HIGH }]],
    ['recipes[0]', [{ ...RECIPE, size: -1 }]],
    ['recipes[0]', [{ ...RECIPE, size: 99 }]],
    ['recipes[0]', [{ ...RECIPE, recipe: { digest: A, size: -1 } }]],
    [
      'recipes[0]',
      [{ ...RECIPE, recipe: { digest: digestOf(Buffer.from(''), 'sha512'), size: 1 } }],
    ],
    ['recipes[0]', [{ ...RECIPE, sources: [] }]],
    ['recipes[0]', [{ ...RECIPE, sources: undefined }]],
    ['recipes[0]', [{ ...RECIPE, sources: [LOW] }]],
    ['recipes[0]', [{ ...RECIPE, sources: [C] }]],
    ['recipes[0]', [{ ...four, sources: [...four.sources, HIGH] }], { needs }],
    ['recipes[1]', [RECIPE, RECIPE]],
    ['sizes', [{ ...RECIPE, size: 2 ** 53 - 1 }]],
  ];
  for (const [place, recipes, rest] of wrong) {
    const { message } = t.throws(
      () => parseManifest(Buffer.from(JSON.stringify({ ...MANIFEST, ...rest, recipes }))),
      {
        instanceOf: BundleError,
        code: 'format',
      },
    );
    t.true(message.includes(`(${place})`), `${place}: ${message}`);
  }
});

test('each thing that may not be is refused, with its place', (t) => {
  const blob = { digest: LOW, size: 10 };
  const wrong: readonly [string, Record<string, unknown>][] = [
    ['series', { series: '' }],
    ['series', { series: '../x' }],
    ['number', { number: 0 }],
    ['number', { number: 1.5 }],
    ['number', { number: 2 ** 53 }],
    ['site', { site: 'a b' }],
    ['index', { index: { digest: digestOf(Buffer.from(''), 'sha512'), size: 1 } }],
    ['index', { index: { digest: A, size: -1 } }],
    ['hasParity', { hasParity: 1 }],
    ['images[0]', { images: [{ ...IMAGE, name: 'alpine' }] }],
    ['images[0]', { images: [{ ...IMAGE, name: 'docker.io/../alpine' }] }],
    ['images[0]', { images: [{ ...IMAGE, name: 'docker.io/Alpine' }] }],
    ['images[0]', { images: [{ ...IMAGE, name: 'dock\u{1b}[31m/alpine' }] }],
    ['images[0]', { images: [{ ...IMAGE, tag: '.x' }] }],
    ['images[0]', { images: [{ ...IMAGE, tag: null }] }],
    ['images[0]', { images: [{ ...IMAGE, mediaType: 'a\nb' }] }],
    ['images[0]', { images: [{ ...IMAGE, subject: 'sha256:a' }] }],
    ['images[0]', { images: [{ ...IMAGE, isSearched: false }] }],
    // It is neither carried nor needed, or with another size.
    ['images[0]', { images: [{ ...IMAGE, digest: MANIFEST.index.digest }] }],
    ['images[0]', { images: [{ ...IMAGE, size: 11 }] }],
    ['images[1]', { images: [IMAGE, IMAGE] }],
    ['images[1]', { images: [IMAGE, { ...IMAGE, tag: '3.21' }] }],
    ['released[0]', { released: ['docker.io/library/alpine'] }],
    ['released[1]', { released: ['docker.io/a:b', 'docker.io/a:b'] }],
    ['released', { released: Array.from({ length: 1_000_001 }, () => '') }],
    ['files[0]', { files: [{ name: '.hidden', ...blob }] }],
    ['files[0]', { files: [{ name: 'a/b', ...blob }] }],
    ['files[0]', { files: [{ name: '..', ...blob }] }],
    ['files[0]', { files: [{ name: 'a'.repeat(91), ...blob }] }],
    ['files[1]', { files: [MANIFEST.files[1], MANIFEST.files[0]] }],
    ['blobs[0]', { blobs: [{ digest: 'md5:a', size: 1 }] }],
    ['blobs[0]', { blobs: [{ digest: LOW, size: '10' }] }],
    ['blobs[0]', { blobs: [{ digest: LOW, size: 2 ** 53 }] }],
    ['blobs[1]', { blobs: [blob, blob] }],
    ['blobs[1]', { blobs: [{ digest: HIGH, size: 1 }, blob], needs: [] }],
    ['blobs', { blobs: Array.from({ length: 1_000_001 }, () => ({})) }],
    ['needs[0]', { needs: [blob] }],
    ['sizes', { needs: [{ digest: HIGH, size: 2 ** 53 - 1 }] }],
    ['cuts[0]', { cuts: [[0, 0]] }],
    ['cuts[0]', { cuts: [[5, 0]] }],
    ['cuts[0]', { cuts: [[4, 10]] }],
    ['cuts[0]', { cuts: [[4, -1]] }],
    ['cuts[0]', { cuts: [[1.5, 0]] }],
    ['cuts[0]', { cuts: [[1, 0, 0]] }],
    ['cuts[0]', { cuts: ['ab'] }],
    [
      'cuts[1]',
      {
        cuts: [
          [1, 2],
          [1, 2],
        ],
      },
    ],
    [
      'cuts[1]',
      {
        cuts: [
          [4, 0],
          [1, 2],
        ],
      },
    ],
    ['cuts', { cuts: Array.from({ length: 10_000 }, () => [1, 1]) }],
  ];
  for (const [place, change] of wrong) {
    const error = t.throws(
      () => parse({ ...MANIFEST, ...change }),
      { instanceOf: BundleError },
      place,
    );
    t.is(error.code, 'format');
    t.true(
      error.message.startsWith(`its manifest is not as it must be (${place}): `),
      `${place}: ${error.message}`,
    );
  }
});

test('another form, another version and more than 64 MiB are refused', (t) => {
  const text = formatManifest(MANIFEST).toString();
  const refusal = (written: string | Buffer): string =>
    t.throws(() => parseManifest(Buffer.from(written)), { instanceOf: BundleError }).message;
  t.regex(refusal(text.replace('"format":1', '"format":2')), /newer version/);
  t.regex(refusal(text.trimEnd()), /\(form\)/);
  t.regex(refusal(text.replace('{', '{"more":1,')), /\(form\)/);
  t.regex(refusal(text.replace('{', '{"__proto__":{"site":"x"},')), /\(form\)/);
  t.regex(refusal(text.replace('"number":7', '"number":7,"number":7')), /\(form\)/);
  t.regex(refusal(text.replace('"number":7', '"number":7.0')), /\(form\)/);
  t.regex(refusal(''), /\(JSON\)/);
  t.regex(refusal('null'), /\(JSON\)/);
  t.regex(refusal('['.repeat(1_000_000)), /\(JSON\)/);
  t.regex(refusal(Buffer.alloc(64 * 1024 * 1024 + 1, ' ')), /\(bytes\)/);
});

test('whatever stands at a place of it, it is refused as no manifest or is one', (t) => {
  const places = placesOf(MANIFEST);
  fc.assert(
    fc.property(fc.constantFrom(...places), fc.jsonValue(), (place, value) => {
      const document = structuredClone(MANIFEST) as unknown as Record<string, unknown>;
      const [last = '', ...above] = place.toReversed();
      const parent = above
        .toReversed()
        .reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, document);
      parent[last] = value;
      const bytes = Buffer.from(`${JSON.stringify(document)}\n`);
      try {
        t.deepEqual(formatManifest(parseManifest(bytes)), bytes);
      } catch (error) {
        if (!(error instanceof BundleError) || error.code !== 'format') throw error;
      }
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      t.throws(() => parseManifest(bytes), { instanceOf: BundleError });
    }),
  );
});

test('any cut of any content is a manifest again', (t) => {
  const sizes = fc.array(fc.integer({ min: 0, max: 3_000_000 }), { maxLength: 60 });
  const choice = fc.record({
    sizes,
    partBytes: fc.integer({ min: 100_000, max: 2_000_000 }),
    hasParity: fc.boolean(),
  });
  fc.assert(
    fc.property(choice, ({ sizes, partBytes, hasParity }) => {
      const blobs = sizes
        .map((size, at) => ({ digest: digestOf(Buffer.from(`${at}`)) as string, size }))
        .toSorted((a, b) => compareTexts(a.digest, b.digest));
      const { cuts: _, ...draft } = MANIFEST;
      const manifest = cutBundle({ ...draft, images: [], needs: [], blobs, hasParity }, partBytes);
      t.deepEqual(parse(manifest), manifest);
    }),
  );
});

test('an entry with a path that needs a header of its own is cut inside, however much room there is', (t) => {
  const digest = digestOf(Buffer.from('wide'), 'sha512');
  const path = `blobs/sha512/${digest.slice('sha512:'.length)}`;
  const fixed = { headBytes: 0, tail: TAIL_BYTES };
  for (let room = 2048; room <= 4096; room += 512) {
    for (const size of [0, 1, 511, 512, 513, 1023, 1024, 1025, 1536, 1537, 2048, 2049, 5000]) {
      const before = { path: 'index.json', digest, size: 700 };
      const partBytes = room + fixed.tail;
      const cuts = cutContent([before, { path, digest, size }], { partBytes, ...fixed });
      const places = [[0, 0], ...cuts, [2, 0]] as [number, number][];
      for (const [at, [entry, offset]] of places.entries()) {
        if (at === 0) continue;
        const [from, start] = places[at - 1]!;
        t.true(entry > from || (entry === from && offset > start), `${room} ${size}`);
        t.true(offset === 0 || offset < (entry === 0 ? 700 : size), `${room} ${size}`);
      }
    }
  }
  t.throws(() => cutContent([], { partBytes: 2047 + fixed.tail, ...fixed }), {
    instanceOf: BundleError,
    message: `parts of this size have no room beside their manifest: write ${2048 + fixed.tail} bytes at least`,
  });
});

test('images stand by name, tag and digest', (t) => {
  const { tag: _, ...untagged } = IMAGE;
  const images = [
    { ...IMAGE, name: 'docker.io/a' },
    { ...untagged, digest: LOW },
    { ...untagged, digest: HIGH },
    { ...IMAGE, tag: '3.3' },
    IMAGE,
  ];
  t.deepEqual(images.toReversed().toSorted(compareImages), [
    images[0]!,
    images[1]!,
    images[2]!,
    IMAGE,
    images[3]!,
  ]);
});

/** The path of each value of a document, and of the document's parts. */
function placesOf(value: unknown, above: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...above]];
  const below = Object.entries(value).flatMap(([key, each]) => placesOf(each, [...above, key]));
  return above.length === 0 ? below : [[...above], ...below];
}
