/** Scans that somebody has made and signed. */
import test from 'ava';
import {
  isScanAttestation,
  readAttestedScan,
} from '../../../src/admission/vulnerabilities/attested-scan.ts';

/** In the form of cosign, with the date of the database, which Trivy itself leaves out. */
const TRIVY = {
  invocation: { parameters: null, uri: '', event_id: '', 'builder.id': '' },
  scanner: {
    uri: 'pkg:github/aquasecurity/trivy@0.68.2',
    version: '0.68.2',
    db: { uri: '', version: '', lastUpdate: '2029-12-31T06:16:33Z' },
    result: {
      SchemaVersion: 2,
      ArtifactName: 'alpine:3.12',
      ArtifactType: 'container_image',
      Results: [
        {
          Target: 'alpine:3.12 (alpine 3.12.9)',
          Class: 'os-pkgs',
          Type: 'alpine',
          Vulnerabilities: [
            {
              VulnerabilityID: 'CVE-2021-28831',
              PkgName: 'busybox',
              InstalledVersion: '1.31.1-r21',
              FixedVersion: '1.32.1-r4',
              Severity: 'HIGH',
              References: ['https://nvd.nist.gov/vuln/detail/CVE-2021-28831'],
            },
            {
              VulnerabilityID: 'CVE-2021-28831',
              PkgName: 'ssl_client',
              InstalledVersion: '1.31.1-r21',
              Severity: 'UNKNOWN',
            },
          ],
        },
        { Target: 'usr/bin/app', Class: 'lang-pkgs', Type: 'gobinary' },
      ],
    },
  },
  metadata: { scanStartedOn: '2030-01-01T00:00:00Z', scanFinishedOn: '2030-01-01T00:01:00Z' },
};

function withResult(result: unknown): object {
  return { ...TRIVY, scanner: { ...TRIVY.scanner, result } };
}

function severitiesOf(predicate: object): readonly unknown[] {
  const scan = readAttestedScan(predicate);
  return scan.kind === 'report' ? scan.findings.map(({ severity }) => severity) : [scan.code];
}

test('a scan of Trivy in the form of cosign', (t) => {
  t.deepEqual(readAttestedScan(TRIVY), {
    kind: 'report',
    at: Date.UTC(2030, 0, 1, 0, 1),
    databaseUpdatedAt: Date.UTC(2029, 11, 31, 6, 16, 33),
    scanner: 'pkg:github/aquasecurity/trivy@0.68.2 0.68.2',
    findings: [
      {
        id: 'CVE-2021-28831',
        aliases: [],
        package: 'busybox',
        version: '1.31.1-r21',
        fixVersion: '1.32.1-r4',
        severity: 'high',
      },
      {
        id: 'CVE-2021-28831',
        aliases: [],
        package: 'ssl_client',
        version: '1.31.1-r21',
        fixVersion: undefined,
        severity: 'unknown',
      },
    ],
  });
  t.like(readAttestedScan(withResult({ SchemaVersion: 2 })), { kind: 'report', findings: [] });
});

test('a scan of Grype in the form of cosign, with its advisory and its CVE', (t) => {
  const match = {
    vulnerability: {
      id: 'GHSA-jfh8-c2jp-5v3q',
      dataSource: 'https://github.com/advisories/GHSA-jfh8-c2jp-5v3q',
      severity: 'Critical',
      fix: { versions: ['2.15.0'], state: 'fixed' },
    },
    relatedVulnerabilities: [
      { id: 'CVE-2021-44228', dataSource: 'https://nvd.nist.gov/vuln/detail/CVE-2021-44228' },
    ],
    artifact: { name: 'log4j-core', version: '2.14.1' },
  };
  t.like(readAttestedScan(withResult({ matches: [match] })), {
    findings: [
      {
        id: 'GHSA-jfh8-c2jp-5v3q',
        aliases: ['CVE-2021-44228'],
        package: 'log4j-core',
        version: '2.14.1',
        fixVersion: '2.15.0',
        severity: 'critical',
      },
    ],
  });
  const unfixed = { ...match, vulnerability: { ...match.vulnerability, fix: { versions: [] } } };
  const scan = readAttestedScan(withResult({ matches: [unfixed] }));
  t.is(scan.kind === 'report' && scan.findings[0]?.fixVersion, undefined);
});

test('a scan in the form of in-toto: the worst rating counts, and everything may be mended', (t) => {
  const rated = (...scores: unknown[]): object => ({
    id: 'CVE-1',
    severity: scores.map((score) => ({ method: 'nvd', score })),
  });
  const cases: [object, string][] = [
    [rated('medium', '5.2'), 'medium'],
    [rated('low', '9.0'), 'critical'],
    [rated('0.0'), 'unknown'],
    [rated('0.1'), 'low'],
    [rated('3.9'), 'low'],
    [rated('4.0'), 'medium'],
    [rated('6.9'), 'medium'],
    [rated(7), 'high'],
    [rated('8.9'), 'high'],
    [rated('-1'), 'critical'],
    [{ id: 'CVE-1', severity: 'high' }, 'high'],
    [rated('grave'), 'critical'],
    [rated({}), 'critical'],
    [rated(), 'unknown'],
    [{ id: 'CVE-1', severity: ['high'] }, 'critical'],
    [{ vulnerability: rated('High') }, 'high'],
  ];
  for (const [entry, expected] of cases) {
    t.deepEqual(severitiesOf(withResult([entry])), [expected], JSON.stringify(entry));
  }
  const scan = readAttestedScan(withResult([rated('high')]));
  t.is(scan.kind === 'report' && scan.findings[0]?.fixVersion, '?');
});

test('several scanners count together, by the oldest of their databases', (t) => {
  const { scanner, ...rest } = TRIVY;
  const older = {
    ...scanner,
    db: { lastUpdate: '2029-06-01T00:00:00Z' },
    result: [{ id: 'CVE-2' }],
  };
  const scan = readAttestedScan({ ...rest, scanners: [scanner, older] });
  t.like(scan, { kind: 'report', databaseUpdatedAt: Date.UTC(2029, 5, 1) });
  t.is(scan.kind === 'report' && scan.findings.length, 3);
  const undated = readAttestedScan({ ...rest, scanners: [scanner, { ...older, db: {} }] });
  t.is(undated.kind === 'report' && undated.databaseUpdatedAt, undefined);
});

test('what is no scan, or cannot be read to its end, is none', (t) => {
  const finding = TRIVY.scanner.result.Results[0]!.Vulnerabilities![0]!;
  const results = (Vulnerabilities: unknown): object =>
    withResult({ Results: [{ Vulnerabilities }] });
  const cases: unknown[] = [
    undefined,
    [],
    {},
    { ...TRIVY, metadata: {} },
    { ...TRIVY, metadata: { scanFinishedOn: 'now' } },
    { ...TRIVY, scanner: undefined },
    { ...TRIVY, scanners: [] },
    { ...TRIVY, scanners: [TRIVY.scanner, null] },
    withResult(undefined),
    withResult({}),
    withResult('none'),
    withResult({ SchemaVersion: 2, Results: [null] }),
    withResult([null]),
    withResult([{}]),
    withResult({ matches: [{}] }),
    results({}),
    results([null]),
    results([{ ...finding, VulnerabilityID: '' }]),
    results([finding, { ...finding, PkgName: 7 }]),
  ];
  for (const predicate of cases) {
    t.like(
      readAttestedScan(predicate),
      { kind: 'refused', code: 'malformed' },
      JSON.stringify(predicate),
    );
  }
  const many = Array.from({ length: 10_001 }, () => finding);
  t.like(readAttestedScan(results(many)), { kind: 'refused', code: 'too-large' });
});

test('scans are known by their predicate types', (t) => {
  t.true(isScanAttestation('https://cosign.sigstore.dev/attestation/vuln/v1'));
  t.true(isScanAttestation('https://in-toto.io/attestation/vulns/v0.2'));
  t.false(isScanAttestation('https://openvex.dev/ns/v0.2.0'));
  t.false(isScanAttestation('https://in-toto.io/attestation/vulns/v0.2/x'));
});
