import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { RuleChange, ScannedScene, Vulnerable } from './scanned.ts';
import { buildImage, buildIndex, type Stored } from '../helpers/image.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { idle, REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { Scrape } from '../helpers/scrape.ts';
import { attachDocument } from './documents.ts';
import { codeOf, messageOf } from './guarded.ts';
import { startScanned } from './scanned.ts';
import { attachBundle, KeyHolder } from './signing.ts';

const CRITICAL: Vulnerable = { id: 'CVE-2024-45491', fix: '2.5.0-1+deb12u1' };
const AMD64 = { os: 'linux', architecture: 'amd64' };
const VEX = 'https://openvex.dev/ns/v0.2.0';
const COSIGN_SCAN = 'https://cosign.sigstore.dev/attestation/vuln/v1';

/** The image of the scene, in which something is found. */
async function startVulnerable(t: ExecutionContext, rule: RuleChange = {}): Promise<ScannedScene> {
  const scene = await startScanned(t, { rule });
  scene.scanner.findings.set(scene.image.manifest.digest, [CRITICAL]);
  return scene;
}

/** The rule is another one from now on. */
async function change(scene: ScannedScene, rule: RuleChange): Promise<void> {
  const upstreams = { [UPSTREAM]: { url: scene.registry.url } };
  await scene.mirror.reload({ upstreams, admission: scene.ruled(rule) });
}

function vexOf({ digest }: Stored, justification = 'vulnerable_code_not_present'): object {
  const [, sum = ''] = digest.split(':');
  return {
    '@context': VEX,
    '@id': 'https://example.com/vex/1',
    author: 'us',
    timestamp: '2029-12-31T00:00:00Z',
    statements: [
      {
        vulnerability: { name: CRITICAL.id },
        products: [{ '@id': 'image', hashes: { 'sha-256': sum } }],
        status: 'not_affected',
        justification,
      },
    ],
  };
}

function scanOf(severity: string, at: string): object {
  const found = { VulnerabilityID: 'CVE-2030-1', PkgName: 'zlib', InstalledVersion: '1' };
  const Vulnerabilities = [{ ...found, Severity: severity }];
  return {
    scanner: {
      uri: 'pkg:github/aquasecurity/trivy',
      version: '0.68.2',
      db: { lastUpdate: at },
      result: { SchemaVersion: 2, Results: [{ Vulnerabilities }] },
    },
    metadata: { scanStartedOn: at, scanFinishedOn: at },
  };
}

/** By whom an attestation is signed. */
function attest(
  scene: ScannedScene,
  { by, type, predicate }: { by: KeyHolder; type: string; predicate: object },
  image: Stored = scene.image.manifest,
): Stored {
  const bundle = by.bundle(image, type, predicate);
  return attachBundle(scene.registry, { repository: REPOSITORY, image, bundle });
}

test('an image without findings is pulled in full; the scanner was asked about it once', async (t) => {
  const { manifest, blob, image, scanner } = await startScanned(t);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  t.is((await manifest('latest')).status, 200);
  for (const each of image.blobs) t.deepEqual((await blob(each)).body, each.bytes);
  t.deepEqual(
    scanner.scans.map(({ repository, digest }) => ({ repository, digest })),
    [{ repository: `${UPSTREAM}/${REPOSITORY}`, digest: image.manifest.digest }],
  );
});

test('an image with a finding above the line leaves by no way, and the finding is named', async (t) => {
  const { manifest, blob, image, scanner } = await startVulnerable(t);
  for (const method of ['HEAD', 'GET']) {
    for (const reference of ['latest', image.manifest.digest]) {
      t.is((await manifest(reference, { method })).status, 403, `${method} ${reference}`);
    }
    for (const each of [...image.blobs, image.manifest]) {
      for (const headers of [{}, { range: 'bytes=0-9' }]) {
        t.is((await blob(each, { method, headers })).status, 403, `${method} ${each.digest}`);
      }
    }
  }
  t.regex(
    messageOf(await manifest('latest')),
    /admission\.rules\[0\] asks for few vulnerabilities, and 1 vulnerability above medium: CVE-2024-45491 \(critical, libexpat1 2\.5\.0-1, fixed in 2\.5\.0-1\+deb12u1\)/,
  );
  t.is(scanner.scans.length, 1);
});

test('a blob that an image without findings has as well is served', async (t) => {
  const { registry, manifest, blob, image, scanner } = await startScanned(t);
  const other = buildImage({ seed: 'app', layers: [1000, 2000, 30] });
  registry.addImage(REPOSITORY, 'other', other);
  scanner.findings.set(other.manifest.digest, [CRITICAL]);
  t.is((await manifest('other')).status, 403);
  t.is((await blob(other.layer(0))).status, 403);
  t.is((await manifest('latest')).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
  t.is((await blob(other.layer(2))).status, 403);
});

test('what is at the line, and what nobody has mended where only that counts, is no hindrance', async (t) => {
  const scene = await startScanned(t, { rule: { vulnerabilities: { fixableOnly: true } } });
  const { scanner, image, manifest } = scene;
  scanner.findings.set(image.manifest.digest, [
    { id: 'CVE-1', severity: 'Medium', fix: '2' },
    { id: 'CVE-2', severity: 'Critical' },
    { id: 'CVE-3', severity: 'Unknown', fix: '2' },
  ]);
  t.is((await manifest('latest')).status, 200);
  await change(scene, {});
  t.regex(messageOf(await manifest('latest')), /1 vulnerability above medium: CVE-2/);
  await change(scene, { vulnerabilities: { fixableOnly: true, atMost: 'low' } });
  t.regex(messageOf(await manifest('latest')), /1 vulnerability above low: CVE-1/);
  t.is(scanner.scans.length, 1);
});

test('an index passes, and each platform is judged by itself', async (t) => {
  const { registry, scanner, image, manifest } = await startScanned(t);
  const second = buildImage({ seed: 'second', layers: [10] });
  const platforms = [image, second].map((each) => ({ image: each, platform: AMD64 }));
  registry.addIndex(REPOSITORY, 'multi', buildIndex(platforms));
  scanner.findings.set(second.manifest.digest, [CRITICAL]);
  t.is((await manifest('multi')).status, 200);
  t.is(scanner.scans.length, 0);
  t.is((await manifest(image.manifest.digest)).status, 200);
  t.is((await manifest(second.manifest.digest)).status, 403);
});

test('an exception lifts its finding by any name of it, until the day that it names', async (t) => {
  const exception = { cve: 'cve-2024-45491', reason: 'not reached', owner: 'team-a' };
  const until = '2030-01-02';
  const scene = await startVulnerable(t, { exceptions: [{ ...exception, until }] });
  const { manifest, clock } = scene;
  t.is((await manifest('latest')).status, 200);
  clock.advance(24 * HOUR - 1);
  t.is((await manifest('latest')).status, 200);
  clock.advance(1);
  t.regex(
    messageOf(await manifest('latest')),
    /CVE-2024-45491 .*; the exception of team-a for cve-2024-45491 ended on 2030-01-02/,
  );
});

test('an exception by digest lifts all of that image, also by the index that lists it; of no other', async (t) => {
  const scene = await startVulnerable(t);
  const { image, manifest, registry, scanner } = scene;
  const second = buildImage({ seed: 'second', layers: [10] });
  const index = buildIndex([{ image: second, platform: AMD64 }]);
  registry.addIndex(REPOSITORY, 'multi', index);
  scanner.findings.set(second.manifest.digest, [CRITICAL]);
  const exception = { reason: 'a', owner: 'b', until: '2031-01-01' };
  const { digest } = image.manifest;
  await change(scene, { exceptions: [{ ...exception, digest }] });
  t.is((await manifest('latest')).status, 200);
  t.is((await manifest('multi')).status, 200);
  t.is((await manifest(second.manifest.digest)).status, 403);
  await change(scene, { exceptions: [{ ...exception, digest: index.manifest.digest }] });
  t.is((await manifest(second.manifest.digest)).status, 200);
  t.is((await manifest('latest')).status, 403);
});

test('a VEX file lifts a finding, and is read again when it changes', async (t) => {
  const scene = await startVulnerable(t);
  const { folder, image, manifest, clock } = scene;
  const path = join(folder, 'vex.json');
  writeFileSync(path, JSON.stringify(vexOf(image.manifest)));
  await change(scene, { vulnerabilities: { vex: [path] } });
  t.is((await manifest('latest')).status, 200);
  writeFileSync(path, JSON.stringify(vexOf(image.manifest, 'because we say so')));
  t.is((await manifest('latest')).status, 403);
  writeFileSync(path, '{');
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 403);
  writeFileSync(path, JSON.stringify(vexOf(image.manifest)));
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 200);
});

test('an attested VEX lifts a finding within thirty seconds where the rule names who signed it', async (t) => {
  const scene = await startVulnerable(t, { attestedBy: [{ key: 'release' }] });
  const { manifest, clock, signer, image } = scene;
  const vex = { type: VEX, predicate: vexOf(image.manifest) };
  t.is((await manifest('latest')).status, 403);
  attest(scene, { by: new KeyHolder(), ...vex });
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 403);
  attest(scene, { by: signer, ...vex });
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 200);
});

test('an attested VEX counts for what it is about, and lifts nothing without a reason', async (t) => {
  const scene = await startVulnerable(t, { attestedBy: [{ key: 'release' }] });
  const { manifest, signer, image, registry } = scene;
  const other = buildImage({ seed: 'other', layers: [10] });
  registry.addImage(REPOSITORY, 'other', other);
  attest(scene, { by: signer, type: VEX, predicate: vexOf(other.manifest) });
  attest(scene, { by: signer, type: VEX, predicate: vexOf(image.manifest, 'none') });
  attachDocument(registry, {
    subject: image.manifest,
    layerType: 'application/openvex+json',
    bytes: JSON.stringify(vexOf(image.manifest)),
  });
  t.is((await manifest('latest')).status, 403);
});

test('without a scanner a signed scan counts that is not too old; none, and one by a stranger, refuse', async (t) => {
  const rule = { attestedBy: [{ key: 'release' }] };
  const scene = await startScanned(t, { rule, scan: undefined });
  const { manifest, signer, clock } = scene;
  const refused = await manifest('latest');
  t.is(codeOf(refused), 'DENIED');
  t.regex(messageOf(refused), /no scan that counts is attached to it, and no scanner/);
  const clean = { type: COSIGN_SCAN, predicate: scanOf('LOW', '2029-12-31T12:00:00Z') };
  attest(scene, { by: new KeyHolder(), ...clean });
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 403);
  attest(scene, { by: signer, ...clean });
  clock.advance(30_000);
  t.is((await manifest('latest')).status, 200);
  const later = { type: COSIGN_SCAN, predicate: scanOf('CRITICAL', '2029-12-31T18:00:00Z') };
  attest(scene, { by: signer, ...later });
  clock.advance(12 * HOUR);
  t.regex(messageOf(await manifest('latest')), /CVE-2030-1 \(critical, zlib 1\)/);
  clock.advance(12 * HOUR);
  t.regex(messageOf(await manifest('latest')), /no scan that counts/);
});

test('a signed scan in the form of in-toto counts as one in that of cosign', async (t) => {
  const rule = { attestedBy: [{ key: 'release' }] };
  const scene = await startScanned(t, { rule, scan: undefined });
  const at = '2029-12-31T23:00:00Z';
  const result = [{ id: 'CVE-2030-2', severity: [{ method: 'nvd', score: '9.0' }] }];
  const predicate = {
    scanner: { uri: 'pkg:github/anchore/grype', db: { lastUpdate: at }, result },
    metadata: { scanStartedOn: at, scanFinishedOn: at },
  };
  const type = 'https://in-toto.io/attestation/vulns/v0.1';
  attest(scene, { by: scene.signer, type, predicate });
  t.regex(
    messageOf(await scene.manifest('latest')),
    /above medium: CVE-2030-2 \(critical, fixed in \?\)/,
  );
});

test('a signed scan stands in for a scanner that is down, and counts for nothing beside its report', async (t) => {
  const scene = await startVulnerable(t, { attestedBy: [{ key: 'release' }] });
  const { manifest, signer, scanner, clock, registry } = scene;
  const predicate = scanOf('LOW', '2029-12-31T23:00:00Z');
  attest(scene, { by: signer, type: COSIGN_SCAN, predicate });
  t.is((await manifest('latest')).status, 403);
  const other = buildImage({ seed: 'other', layers: [10] });
  registry.addImage(REPOSITORY, 'other', other);
  attest(scene, { by: signer, type: COSIGN_SCAN, predicate }, other.manifest);
  scanner.onMetadata = (response) => response.writeHead(503).end();
  clock.advance(MINUTE);
  t.is((await manifest('other')).status, 200);
});

test('audit lets everything pass, and tells what it would refuse', async (t) => {
  const { mirror, manifest, blob, image } = await startVulnerable(t, { mode: 'audit' });
  t.is((await manifest('latest')).status, 200);
  t.is((await blob(image.layer(0))).status, 200);
  await mirror.logged('a rule of admission would refuse this image');
  const told = mirror.log.find(({ msg }) => msg === 'a rule of admission would refuse this image');
  t.regex(String(told?.['reason']), /CVE-2024-45491/);
});

test('scans are counted by what came of them, and the age of the database is told', async (t) => {
  const { mirror, manifest, scanner } = await startScanned(t);
  t.is((await manifest('latest')).status, 200);
  await idle(mirror);
  const metrics = await Scrape.of(mirror.server.adminUrl);
  t.is(metrics.sum('admission_scans_total', { outcome: 'report' }), 1);
  t.is(metrics.sum('admission_scans_total', { outcome: 'error' }), 0);
  t.is(
    metrics.sum('admission_scanner_database_timestamp_seconds'),
    Date.parse(scanner.databaseAt) / 1000,
  );
});

test('a scanner is told where the mirror listens, unless it is to reach it elsewhere', async (t) => {
  const scene = await startScanned(t);
  const [own, { registry: _, ...without }] = [scene.scanner.settings, scene.scanner.settings];
  const asked: unknown[] = [];
  for (const scanner of [own, without]) {
    const upstreams = { [UPSTREAM]: { url: scene.registry.url } };
    await scene.mirror.reload({ upstreams, admission: { ...scene.admission, scanner } });
    const image = buildImage({ seed: JSON.stringify(scanner), layers: [100] });
    scene.registry.addImage(REPOSITORY, 'other', image);
    t.is((await scene.manifest(image.manifest.digest)).status, 200);
    const { body } = scene.scanner.adapter.requests.findLast(({ body }) => body)!;
    asked.push(body?.registry?.url?.replace(/:\d+$/, ''));
  }
  t.deepEqual(asked, ['http://mirror.example', 'http://127.0.0.1']);
});
