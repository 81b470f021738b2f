/** Documents with anything in any place of them: what reads them says so, and never falls over. */
import test from 'ava';
import * as fc from 'fast-check';
import { readAttestedScan } from '../../../src/admission/vulnerabilities/attested-scan.ts';
import { parseBoundedJson } from '../../../src/admission/vulnerabilities/bounded-json.ts';
import { judgeFindings } from '../../../src/admission/vulnerabilities/judgement.ts';
import { parsePackageUrl } from '../../../src/admission/vulnerabilities/package-url.ts';
import { readVex } from '../../../src/admission/vulnerabilities/read-vex.ts';
import { parseReport } from '../../../src/admission/vulnerabilities/report.ts';
import { ScanFault } from '../../../src/admission/vulnerabilities/scan-fault.ts';
import { parseMetadata } from '../../../src/admission/vulnerabilities/scanner-metadata.ts';
import { ANCHORE } from './anchore-form.ts';
import { DIGEST, SUBJECT } from './fake-adapter.ts';
import { GRYPE } from './grype-form.ts';
import { TRIVY } from './trivy-form.ts';

type Document = Readonly<Record<string, unknown>>;

const IMAGE = { name: 'docker.io/library/nginx', digests: [DIGEST] };
const POLICY = { atMost: 'low', unknown: 'critical', fixableOnly: false, exceptions: [] } as const;

const OPEN_VEX = {
  '@context': 'https://openvex.dev/ns/v0.2.0',
  author: 'a',
  timestamp: '2029-01-01T00:00:00Z',
  statements: [
    {
      vulnerability: { name: 'CVE-2024-45491', aliases: ['GHSA-1'] },
      products: [{ '@id': DIGEST, hashes: {}, subcomponents: [{ '@id': 'pkg:deb/debian/a@1' }] }],
      status: 'fixed',
    },
  ],
};
const CYCLONE_DX = {
  bomFormat: 'CycloneDX',
  metadata: { timestamp: '2029-01-01T00:00:00Z', component: { 'bom-ref': 'i', version: DIGEST } },
  components: [{ 'bom-ref': 'a', purl: 'pkg:deb/debian/a@1', hashes: [{ alg: 'SHA-256' }] }],
  vulnerabilities: [
    {
      id: 'CVE-2024-45491',
      references: [{ id: 'GHSA-1' }],
      analysis: { state: 'resolved' },
      affects: [{ ref: 'a' }],
    },
  ],
};
const SCAN = {
  scanner: {
    uri: 'x',
    db: { lastUpdate: '2029-01-01T00:00:00Z' },
    result: { Results: [{ Vulnerabilities: [{ VulnerabilityID: 'CVE-1', References: ['x'] }] }] },
  },
  metadata: { scanFinishedOn: '2029-01-01T00:00:00Z' },
};

const values = fc.oneof(fc.constant(null), fc.jsonValue({ maxDepth: 3 }));
/** Each place of a document has its turn several times. */
fc.configureGlobal({ numRuns: 1_000 });

/** The document with something else in one place of it. */
function spoilt(document: object): fc.Arbitrary<Document> {
  return fc.tuple(fc.nat(), values).map(([pick, value]) => {
    const copy = structuredClone(document) as Document;
    const places = placesOf(copy);
    const place = places[pick % places.length]!;
    Object.assign(place.at, { [place.key]: value });
    return copy;
  });
}

function placesOf(value: unknown): { at: object; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [{ at: value, key }, ...placesOf(inner)]);
}

/** Whether it reads the document, or says why not. */
function isSettled(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    return error instanceof ScanFault && error.message !== '';
  }
}

for (const { name, report, metadata } of [TRIVY, GRYPE, ANCHORE]) {
  test(`${name}: its report and metadata with anything in any place`, (t) => {
    fc.assert(
      fc.property(spoilt(JSON.parse(report(SUBJECT)) as object), (document) =>
        isSettled(() => parseReport(document, SUBJECT)),
      ),
    );
    fc.assert(
      fc.property(spoilt(metadata), (document) => isSettled(() => parseMetadata(document))),
    );
    t.pass();
  });
}

test('statements and signed scans with anything in any place', (t) => {
  const { findings } = parseReport(JSON.parse(TRIVY.report(SUBJECT)) as Document, SUBJECT);
  for (const document of [OPEN_VEX, CYCLONE_DX]) {
    fc.assert(
      fc.property(spoilt(document), (spoiltOne) => {
        const read = readVex(spoiltOne, IMAGE);
        if (read.kind === 'refused') return read.reason !== '';
        const { statements } = read;
        const judging = {
          findings,
          policy: POLICY,
          statements,
          digests: [DIGEST],
          now: Date.now(),
        };
        return judgeFindings(judging).kind === 'refused';
      }),
    );
  }
  fc.assert(fc.property(spoilt(SCAN), (document) => readAttestedScan(document).kind !== undefined));
  fc.assert(fc.property(fc.anything(), (value) => readVex(value, IMAGE).kind !== undefined));
  fc.assert(fc.property(fc.anything(), (value) => readAttestedScan(value).kind !== undefined));
  t.pass();
});

test('JSON is read as JSON.parse reads it, whatever its texts hold', (t) => {
  const bounds = { depth: 1_000, items: 1_000_000 };
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (value) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const read = parseBoundedJson(bytes, bounds);
      return read.kind === 'object' && JSON.stringify(read.value) === String(bytes);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
      ['object', 'malformed'].includes(parseBoundedJson(Buffer.from(bytes), bounds).kind),
    ),
  );
  t.pass();
});

test('the depth and the items of a document are counted as they are', (t) => {
  const value = { a: [[{ b: [1, '[{,"\\', { c: {} }] }]], d: '}', e: [[], [], {}] };
  const bytes = Buffer.from(JSON.stringify(value));
  const kinds = (depth: number, items: number): string =>
    parseBoundedJson(bytes, { depth, items }).kind;
  // Seven within each other, then four beside them, and six commas.
  t.is(kinds(7, 17), 'object');
  t.is(kinds(6, 17), 'excess');
  t.is(kinds(7, 16), 'excess');
});

test('a package URL is read, or is none', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'a/@%4?#=:é'.split('')) }), (text) => {
      const url = parsePackageUrl(`pkg:${text}`);
      return url === undefined || url.name.length > 0;
    }),
  );
  for (const text of [
    '',
    'pkg:',
    'pkg:deb',
    'pkg:deb/',
    'pkg:/deb//',
    'pkg:deb/@1',
    'deb/a@1',
    'pkg:1/a',
  ]) {
    t.is(parsePackageUrl(text), undefined, text);
  }
  t.deepEqual(parsePackageUrl('pkg:npm/%40scope/name@1.0?arch=x&repository_url=r.example/a#sub'), {
    type: 'npm',
    namespace: '@scope',
    name: 'name',
    version: '1.0',
    repository: 'r.example/a',
  });
});
