import test from 'ava';
import type { AdmissionReport } from '../../src/api/admission-api.ts';
import { get } from '../helpers/client.ts';
import { REPOSITORY, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';
import { startScanned, type ScannedScene } from './scanned.ts';

async function reportOf({ mirror }: ScannedScene): Promise<AdmissionReport> {
  return (await ask(mirror, '/api/v1/admission')) as AdmissionReport;
}

async function ask({ server }: ScannedScene['mirror'], path: string): Promise<unknown> {
  const image = encodeURIComponent(`${UPSTREAM}/${REPOSITORY}:latest`);
  const { body } = await get(`${server.adminUrl}${path}?image=${image}`);
  return JSON.parse(String(body)) as unknown;
}

test('a report tells each finding above the line, and why it does not count', async (t) => {
  const exception = { cve: 'CVE-2', reason: 'not reached', owner: 'team-a', until: '2031-01-01' };
  const rule = { exceptions: [exception], vulnerabilities: { fixableOnly: true } };
  const scene = await startScanned(t, { rule });
  scene.scanner.findings.set(scene.image.manifest.digest, [
    { id: 'CVE-1', severity: 'High', fix: '2' },
    { id: 'CVE-2', fix: '2' },
    { id: 'CVE-3' },
    { id: 'CVE-4', severity: 'Low', fix: '2' },
  ]);
  const { isAllowed, rules } = await reportOf(scene);
  const finding = { package: 'libexpat1', version: '2.5.0-1' };
  t.false(isAllowed);
  t.deepEqual(rules[0]?.conditions, [
    {
      asks: 'vulnerabilities',
      outcome: 'refused',
      reason: '1 vulnerability above medium: CVE-1 (high, libexpat1 2.5.0-1, fixed in 2)',
      findings: [
        { id: 'CVE-1', severity: 'high', ...finding, fixVersion: '2', counts: true },
        {
          id: 'CVE-2',
          severity: 'critical',
          ...finding,
          fixVersion: '2',
          counts: false,
          reason: 'team-a answers for it until 2031-01-01T00:00:00.000Z: not reached',
        },
        {
          id: 'CVE-3',
          severity: 'critical',
          ...finding,
          counts: false,
          reason: 'no version mends it',
        },
      ],
    },
  ]);
});

test('a report says until when an exception lifts what would refuse, and how many findings it leaves out', async (t) => {
  const exception = { reason: 'a', owner: 'b', until: '2031-01-01' };
  const scene = await startScanned(t);
  const { digest } = scene.image.manifest;
  const many = Array.from({ length: 130 }, (_, at) => ({ id: `CVE-${at}` }));
  scene.scanner.findings.set(digest, many);
  const { registry, mirror, ruled } = scene;
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const admission = ruled({ exceptions: [{ ...exception, digest }] });
  t.is((await mirror.reload({ upstreams, admission })).status, 200);
  const { isAllowed, rules } = await reportOf(scene);
  const [condition] = rules[0]?.conditions ?? [];
  t.true(isAllowed);
  t.like(condition, { outcome: 'admitted', until: Date.UTC(2031, 0, 1), moreFindings: 30 });
  t.is(condition?.findings?.length, 100);
});

test('what is held is judged by what is kept, and nobody is asked', async (t) => {
  const scene = await startScanned(t, { rule: { mode: 'audit' } });
  const { manifest, mirror, scanner, ruled, registry } = scene;
  scanner.onReport = (_, response) => void response.writeHead(500).end();
  t.is((await manifest('latest')).status, 200);
  await until('nobody waits for the scan', () => scanner.scans.length === 1);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  t.is((await mirror.reload({ upstreams, admission: ruled({}) })).status, 200);
  const explained = (await ask(mirror, '/api/v1/explain')) as { admission: AdmissionReport };
  t.like(explained.admission.rules[0]?.conditions[0], {
    outcome: 'unknown',
    reason: 'nothing that is kept says which vulnerabilities it has',
  });
  t.is(scanner.scans.length, 1);
});
