/** What OpenVEX and CycloneDX documents say of an image. */
import test from 'ava';
import { judgeFindings } from '../../../src/admission/vulnerabilities/judgement.ts';
import { readVex } from '../../../src/admission/vulnerabilities/read-vex.ts';
import type { Finding } from '../../../src/admission/vulnerabilities/report.ts';
import type { JudgedImage } from '../../../src/admission/vulnerabilities/vex.ts';
import { DIGEST, OTHER_DIGEST } from './fake-adapter.ts';

const NOW = Date.UTC(2030, 0, 1);
const HEX = DIGEST.slice('sha256:'.length);
const PURL = `pkg:oci/nginx@sha256%3A${HEX}?arch=amd64&repository_url=index.docker.io/library/nginx`;
const IMAGE: JudgedImage = { name: 'docker.io/library/nginx', digests: [DIGEST] };
const FINDING: Finding = {
  id: 'CVE-2023-44487',
  aliases: ['GHSA-qppj-fm5r-hxr3'],
  package: 'libnghttp2-14',
  version: '1.52.0-1',
  fixVersion: '1.52.0-1+deb12u1',
  severity: 'high',
};
const STATEMENT = {
  vulnerability: { name: 'CVE-2023-44487' },
  products: [{ '@id': PURL }],
  status: 'not_affected',
  justification: 'vulnerable_code_not_in_execute_path',
};

function openVex(...statements: object[]): Record<string, unknown> {
  return {
    '@context': 'https://openvex.dev/ns/v0.2.0',
    '@id': 'https://openvex.dev/docs/public/vex-1',
    author: 'Vendor Security',
    timestamp: '2029-06-01T00:00:00Z',
    version: 1,
    statements: statements.map((statement) => ({ ...STATEMENT, ...statement })),
  };
}

const VULNERABILITY = {
  id: 'CVE-2023-44487',
  analysis: { state: 'not_affected', justification: 'code_not_reachable' },
  affects: [{ ref: 'image' }],
};

function cycloneDx(change: object = {}, document: object = {}): Record<string, unknown> {
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: 'urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79',
    version: 1,
    metadata: {
      timestamp: '2029-06-01T00:00:00Z',
      component: { type: 'container', name: 'nginx', 'bom-ref': 'image', purl: PURL },
    },
    components: [
      {
        'bom-ref': 'nghttp2',
        name: 'libnghttp2-14',
        version: '1.52.0-1',
        purl: 'pkg:deb/debian/libnghttp2-14@1.52.0-1?distro=debian-12',
      },
      { 'bom-ref': 'apt', purl: 'pkg:deb/debian/apt@2.6.1' },
    ],
    vulnerabilities: [{ ...VULNERABILITY, ...change }],
    ...document,
  };
}

function isLifted(documents: readonly unknown[], finding = FINDING, image = IMAGE): boolean {
  const statements = documents.flatMap((document) => {
    const read = readVex(document, image);
    return read.kind === 'statements' ? read.statements : [];
  });
  const policy = { atMost: 'low', unknown: 'unknown', fixableOnly: false, exceptions: [] } as const;
  const judging = { findings: [finding], policy, statements, digests: image.digests, now: NOW };
  return judgeFindings(judging).kind === 'admitted';
}

test('OpenVEX: each status, and what is not affected says why', (t) => {
  const cases: [object, boolean][] = [
    [{}, true],
    [{ justification: undefined }, false],
    [{ justification: undefined, impact_statement: 'not used here' }, false],
    [{ justification: 'because' }, false],
    [{ justification: 'component_not_present' }, true],
    [{ status: 'fixed', justification: undefined }, true],
    [{ status: 'affected' }, false],
    [{ status: 'under_investigation' }, false],
    [{ status: 'NOT_AFFECTED' }, false],
    [{ status: undefined }, false],
  ];
  for (const [change, expected] of cases) {
    t.is(isLifted([openVex(change)]), expected, JSON.stringify(change));
  }
});

test('OpenVEX: the vulnerability by any of its names, in the older form too', (t) => {
  const cases: [unknown, boolean][] = [
    ['CVE-2023-44487', true],
    [{ '@id': 'https://nvd.nist.gov/vuln/detail/CVE-2023-44487' }, true],
    [{ name: 'GHSA-qppj-fm5r-hxr3' }, true],
    [{ name: 'GO-2023-2102', aliases: ['CVE-2023-44487'] }, true],
    [{ name: 'CVE-2023-4448' }, false],
    [{ name: 7, aliases: 'CVE-2023-44487' }, false],
    [undefined, false],
    ['', false],
  ];
  for (const [vulnerability, expected] of cases) {
    t.is(isLifted([openVex({ vulnerability })]), expected, JSON.stringify(vulnerability));
  }
});

test('the product is the image: by its digest, or by a package URL that names its repository', (t) => {
  const other = OTHER_DIGEST.slice('sha256:'.length);
  const cases: [unknown, boolean][] = [
    [PURL, true],
    [{ '@id': 'nginx', identifiers: { purl: PURL } }, true],
    [{ '@id': 'nginx', hashes: { 'sha-256': HEX } }, true],
    [{ '@id': 'nginx', hashes: { 'sha-256': HEX.toUpperCase() } }, true],
    [{ '@id': PURL, hashes: { 'sha-256': other } }, false],
    [`pkg:oci/nginx@sha256:${HEX}`, true],
    [`pkg:docker/library/nginx@sha256:${HEX}`, true],
    [`pkg:oci/nginx@sha256%3A${HEX}?repository_url=ghcr.io/copy/nginx`, true],
    ['pkg:oci/nginx?repository_url=docker.io/library/nginx', true],
    ['pkg:oci/nginx?repository_url=registry-1.docker.io%2Flibrary%2Fnginx', true],
    ['pkg:oci/nginx?repository_url=docker.io/evil/nginx', false],
    [`pkg:oci/nginx@sha256%3A${other}?repository_url=docker.io/library/nginx`, false],
    ['pkg:oci/nginx', false],
    ['pkg:oci/nginx@1.25?repository_url=docker.io/library/nginx', false],
    ['pkg:deb/debian/libnghttp2-14@1.52.0-1', false],
    [`pkg:generic/nginx@sha256:${HEX}`, false],
    [DIGEST, true],
    [`docker.io/library/nginx@${DIGEST}`, true],
    [`x${DIGEST}`, false],
    ['docker.io/library/nginx', false],
    ['nginx', false],
    ['pkg:oci/%E0%A4%A', false],
    [`pkg:oci/${'n'.repeat(3_000)}@sha256:${HEX}`, false],
    [undefined, false],
    [[], false],
  ];
  for (const [product, expected] of cases) {
    t.is(isLifted([openVex({ products: [product] })]), expected, JSON.stringify(product));
  }
  t.false(isLifted([openVex({ products: undefined })]));
  const index = { ...IMAGE, digests: [OTHER_DIGEST, DIGEST] };
  t.true(isLifted([openVex({})], FINDING, index));
});

test('a statement about packages is about those alone', (t) => {
  const cases: [string, Partial<Finding>, boolean][] = [
    ['pkg:deb/debian/libnghttp2-14@1.52.0-1', {}, true],
    ['pkg:deb/debian/libnghttp2-14', {}, true],
    ['pkg:deb/debian/libnghttp2-14@1.52.0-2', {}, false],
    ['pkg:deb/debian/nghttp2@1.52.0-1', {}, false],
    ['libnghttp2-14', {}, false],
    [
      'pkg:golang/golang.org/x/net@v0.28.0',
      { package: 'golang.org/x/net', version: 'v0.28.0' },
      true,
    ],
    [
      'pkg:golang/evil.example/x/net@v0.28.0',
      { package: 'golang.org/x/net', version: 'v0.28.0' },
      false,
    ],
    ['pkg:maven/org.apache/log4j@2', { package: 'org.apache:log4j', version: '2' }, true],
    ['pkg:npm/%40scope/name@1', { package: '@scope/name', version: '1' }, true],
    ['pkg:npm/name@1', { package: '@scope/name', version: '1' }, false],
    ['pkg:deb/debian/a@1%3A2.0%2Bb1?arch=amd64#x', { package: 'a', version: '1:2.0+b1' }, true],
  ];
  for (const [id, change, expected] of cases) {
    const product = { '@id': PURL, subcomponents: [{ '@id': id }] };
    const finding = { ...FINDING, ...change };
    t.is(isLifted([openVex({ products: [product] })], finding), expected, id);
    const older = openVex({ products: [PURL], subcomponents: [id] });
    t.is(isLifted([older], finding), expected, `${id} in the older form`);
  }
});

test('of several statements the newest counts, of two of one time the worse', (t) => {
  const lifting = { timestamp: '2029-06-02T00:00:00Z' };
  const older = { status: 'affected', timestamp: '2029-06-01T00:00:00Z' };
  const newer = { status: 'affected', timestamp: '2029-06-03T00:00:00Z' };
  t.true(isLifted([openVex(lifting, older)]));
  t.true(isLifted([openVex(older), openVex(lifting)]));
  t.false(isLifted([openVex(lifting), openVex(newer)]));
  t.false(isLifted([openVex(newer, lifting)]));
  t.false(isLifted([openVex({}), openVex({ status: 'under_investigation' })]));
  t.false(isLifted([openVex({}, { justification: undefined })]));
  t.true(isLifted([openVex({ ...newer, last_updated: '2020-01-01T00:00:00Z' }, lifting)]));
  t.false(isLifted([openVex({ ...lifting, vulnerability: 'GHSA-qppj-fm5r-hxr3' }, newer)]));
  const product = { '@id': PURL, subcomponents: [{ '@id': 'pkg:deb/debian/libnghttp2-14' }] };
  t.false(isLifted([openVex(lifting, { ...newer, products: [product] })]));
  t.false(isLifted([openVex({ ...lifting, products: [product] }, newer)]));
});

test('what is of a time to come lifts nothing, of no time it is the oldest', (t) => {
  t.false(isLifted([openVex({ timestamp: '2099-01-01T00:00:00Z' })]));
  t.false(isLifted([openVex({ timestamp: '2099-01-01T00:00:00Z' }, { status: 'affected' })]));
  t.true(isLifted([openVex({ timestamp: '2030-01-01T00:04:00Z' })]));
  const undated = { ...openVex({}), timestamp: 'now' };
  t.true(isLifted([undated]));
  t.false(isLifted([undated, openVex({ status: 'affected' })]));
});

test('CycloneDX: each state, and what is not affected says why', (t) => {
  const cases: [object, boolean][] = [
    [{ state: 'not_affected', justification: 'code_not_reachable' }, true],
    [{ state: 'not_affected' }, false],
    [{ state: 'not_affected', justification: 'x', detail: 'not used' }, false],
    [{ state: 'false_positive' }, false],
    [{ state: 'false_positive', justification: 'code_not_present' }, true],
    [{ state: 'resolved' }, true],
    [{ state: 'resolved_with_pedigree' }, true],
    [{ state: 'exploitable', justification: 'code_not_present' }, false],
    [{ state: 'in_triage' }, false],
    [{}, false],
  ];
  for (const [analysis, expected] of cases) {
    t.is(isLifted([cycloneDx({ analysis })]), expected, JSON.stringify(analysis));
  }
  t.false(isLifted([cycloneDx({ analysis: undefined })]));
});

test('CycloneDX: what is affected is the image, or a package of a document about it', (t) => {
  const cases: [unknown, boolean][] = [
    [[{ ref: 'image' }], true],
    [[{ ref: PURL }], true],
    [[{ ref: 'nghttp2' }], true],
    [[{ ref: 'apt' }], false],
    [[{ ref: 'apt' }, { ref: 'nghttp2' }], true],
    [[{ ref: 'pkg:deb/debian/libnghttp2-14@1.52.0-1' }], true],
    [
      [
        {
          ref: 'urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg:deb/debian/libnghttp2-14@1.52.0-1',
        },
      ],
      true,
    ],
    [[{ ref: `urn:cdx:0/1#${encodeURIComponent(PURL)}` }], true],
    [[{ ref: 'nothing' }], false],
    [[], false],
    [undefined, false],
    [['image'], false],
    [[{ ref: `pkg:deb/debian/libnghttp2-14?x=${'x'.repeat(2_048)}` }], false],
  ];
  for (const [affects, expected] of cases) {
    t.is(isLifted([cycloneDx({ affects })]), expected, JSON.stringify(affects));
  }
  const about = (component: object | undefined): Record<string, unknown> =>
    cycloneDx({ affects: [{ ref: 'nghttp2' }] }, { metadata: { component } });
  t.false(isLifted([about(undefined)]));
  t.false(isLifted([about({ purl: 'pkg:oci/nginx?repository_url=docker.io/evil/nginx' })]));
  t.true(isLifted([about({ name: 'nginx', hashes: [{ alg: 'SHA-256', content: HEX }] })]));
  t.false(isLifted([about({ purl: PURL, hashes: [{ alg: 'SHA-256', content: 'ab' }] })]));
  t.true(isLifted([about({ name: 'nginx:1.25', version: DIGEST })]));
});

test('CycloneDX: other names, and the newest statement', (t) => {
  const references = [{ id: 'CVE-2023-44487', source: {} }];
  t.true(isLifted([cycloneDx({ id: 'GO-2023-2102', references })]));
  t.false(isLifted([cycloneDx({ id: 'GO-2023-2102' })]));
  const worse = { state: 'exploitable', lastUpdated: '2029-07-01T00:00:00Z' };
  t.false(isLifted([cycloneDx(), cycloneDx({ analysis: worse })]));
  t.true(
    isLifted([
      cycloneDx(),
      cycloneDx({ analysis: { ...worse, lastUpdated: '2029-05-01T00:00:00Z' } }),
    ]),
  );
  t.false(isLifted([cycloneDx({ analysis: worse }), openVex({})]));
});

test('a document of nonsense says nothing, and is told', (t) => {
  for (const document of [
    undefined,
    null,
    7,
    'x',
    [],
    {},
    { '@context': 'https://evil.example/ns' },
    { '@context': 'https://openvex.dev/nsx' },
  ]) {
    t.like(
      readVex(document, IMAGE),
      { kind: 'refused', code: 'malformed' },
      JSON.stringify(document),
    );
  }
  for (const statements of [undefined, {}, 'x', [null, 7, [], {}]]) {
    t.deepEqual(readVex({ ...openVex(), statements }, IMAGE), {
      kind: 'statements',
      statements: [],
    });
  }
  for (const vulnerabilities of [undefined, {}, [null, 7, [], {}, { id: {}, affects: {} }]]) {
    const document = cycloneDx({}, { vulnerabilities, components: 7, metadata: [] });
    t.deepEqual(readVex(document, IMAGE), { kind: 'statements', statements: [] });
  }
});

test('a huge document is refused whole', (t) => {
  const products = Array.from({ length: 300 }, () => ({ '@id': 'x' }));
  const wide = openVex(...Array.from({ length: 300 }, () => ({ products })));
  t.like(readVex(wide, IMAGE), { kind: 'refused', code: 'too-large' });
  const many = openVex(...Array.from({ length: 50_001 }, () => ({})));
  t.like(readVex(many, IMAGE), { kind: 'refused', code: 'too-large' });
  const affects = Array.from({ length: 50_000 }, () => ({ ref: 'image' }));
  t.like(readVex(cycloneDx({ affects }), IMAGE), { kind: 'refused', code: 'too-large' });
  const components = Array.from({ length: 50_001 }, () => ({}));
  t.like(readVex(cycloneDx({}, { components }), IMAGE), { kind: 'refused', code: 'too-large' });
});
