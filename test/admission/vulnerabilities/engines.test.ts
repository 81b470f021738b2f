/** What Trivy and Grype themselves write, as it is; fixtures/scanners tells where it is from. */
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { readAttestedScan } from '../../../src/admission/vulnerabilities/attested-scan.ts';
import { judgeFindings } from '../../../src/admission/vulnerabilities/judgement.ts';
import type { Severity } from '../../../src/admission/vulnerabilities/severity.ts';
import { codeOf, messageOf } from '../guarded.ts';
import { startScanned, type ScannedScene } from '../scanned.ts';
import { attachBundle, KeyHolder } from '../signing.ts';
import { REPOSITORY } from '../../helpers/scene.ts';
import { DIGEST } from './fake-adapter.ts';

const COSIGN_SCAN = 'https://cosign.sigstore.dev/attestation/vuln/v1';
const AT = '2029-12-31T12:00:00Z';

const TRIVY = fixture('trivy');
const TRIVY_CLEAN = fixture('trivy-clean');
/** Grype writes no predicates: who attests its report puts it where cosign has results. */
const GRYPE = {
  scanner: { uri: 'pkg:github/anchore/grype', version: '0.65.1', result: fixture('grype') },
  metadata: { scanStartedOn: AT, scanFinishedOn: AT },
};

function fixture(name: string): object {
  const file = new URL(`../fixtures/scanners/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as object;
}

function judge(predicate: object, atMost: Severity, fixableOnly = false): string {
  const scan = readAttestedScan(predicate);
  if (scan.kind !== 'report') return scan.reason;
  return judgeFindings({
    findings: scan.findings,
    policy: { atMost, unknown: 'unknown', fixableOnly, exceptions: [] },
    statements: [],
    digests: [DIGEST],
    now: Date.parse(AT),
  }).kind;
}

/** Somebody scanned the image of the scene and signed what was found. */
async function startAttested(t: ExecutionContext, predicate: object): Promise<ScannedScene> {
  const rule = { attestedBy: [{ key: 'release' }] };
  const scene = await startScanned(t, { rule, scan: undefined });
  const { registry, image, signer } = scene;
  const bundle = signer.bundle(image.manifest, COSIGN_SCAN, predicate);
  attachBundle(registry, { repository: REPOSITORY, image: image.manifest, bundle });
  return scene;
}

test('what Trivy found is read as it writes it; it does not tell how old its database was', (t) => {
  t.deepEqual(readAttestedScan(TRIVY), {
    kind: 'report',
    at: Date.parse(AT),
    databaseUpdatedAt: undefined,
    scanner: 'pkg:github/aquasecurity/trivy@0.74.0 0.74.0',
    findings: [
      {
        id: 'CVE-2019-18276',
        aliases: [],
        package: 'bash',
        version: '5.0-4',
        fixVersion: undefined,
        severity: 'low',
      },
      {
        id: 'CVE-2019-18224',
        aliases: [],
        package: 'libidn2-0',
        version: '2.0.5-1',
        fixVersion: '2.0.5-1+deb10u1',
        severity: 'critical',
      },
    ],
  });
  t.like(readAttestedScan(TRIVY_CLEAN), { kind: 'report', at: Date.parse(AT), findings: [] });
});

test('what Grype found is read as it writes it, an advisory under its CVE as well', (t) => {
  const httpclient = { package: 'httpclient', version: '4.1.1', severity: 'medium' };
  t.like(readAttestedScan(GRYPE), {
    kind: 'report',
    scanner: 'pkg:github/anchore/grype 0.65.1',
    findings: [
      {
        ...httpclient,
        id: 'GHSA-cfh5-3ghh-wfjx',
        aliases: ['CVE-2014-3577'],
        fixVersion: '4.3.5',
      },
      { ...httpclient, id: 'CVE-2014-3577', aliases: [], fixVersion: undefined },
    ],
  });
});

test('what Trivy and Grype found is judged by its severity and by its fix', (t) => {
  t.is(judge(TRIVY, 'high'), 'refused');
  t.is(judge(TRIVY, 'critical'), 'admitted');
  t.is(judge(TRIVY_CLEAN, 'unknown'), 'admitted');
  t.is(judge(GRYPE, 'medium'), 'admitted');
  t.is(judge(GRYPE, 'low'), 'refused');
  t.is(judge(GRYPE, 'low', true), 'refused');
});

test('a signed report of Trivy refuses an image with its findings, and admits one without', async (t) => {
  const vulnerable = await startAttested(t, TRIVY);
  const refused = await vulnerable.manifest('latest');
  t.is(codeOf(refused), 'DENIED');
  t.regex(messageOf(refused), /CVE-2019-18224 \(critical, libidn2-0 2\.0\.5-1/);
  const clean = await startAttested(t, TRIVY_CLEAN);
  t.is((await clean.manifest('latest')).status, 200);
});

test('a signed report of Grype counts by its severities, and only where the rule names who signed it', async (t) => {
  const scene = await startAttested(t, GRYPE);
  t.is((await scene.manifest('latest')).status, 200);
  const stranger = await startScanned(t, {
    rule: { attestedBy: [{ key: 'release' }] },
    scan: undefined,
  });
  const { image, registry } = stranger;
  const bundle = new KeyHolder().bundle(image.manifest, COSIGN_SCAN, GRYPE);
  attachBundle(registry, { repository: REPOSITORY, image: image.manifest, bundle });
  t.regex(messageOf(await stranger.manifest('latest')), /no scan that counts/);
});
