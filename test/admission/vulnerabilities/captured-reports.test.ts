/** What adapters of Trivy and Grype answered, byte for byte, decides what a client gets. */
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { Severity } from '../../../src/admission/vulnerabilities/severity.ts';
import { codeOf, messageOf } from '../guarded.ts';
import { startScanned, type ScannedScene } from '../scanned.ts';
import type { AdapterForm } from './adapter-form.ts';
import { FakeAdapter, sendBytes, SUBJECT } from './fake-adapter.ts';
import { GRYPE } from './grype-form.ts';
import { TRIVY } from './trivy-form.ts';

interface CapturedOptions {
  readonly atMost: Severity;
  readonly fixableOnly?: boolean;
  readonly isClean?: boolean;
}

interface CapturedScene extends ScannedScene {
  readonly captured: FakeAdapter;
}

const REPORT = 'application/vnd.security.vulnerability.report; version=1.1';

/** A mirror whose scanner is this adapter. */
async function startCaptured(
  t: ExecutionContext,
  form: AdapterForm,
  { isClean = false, ...vulnerabilities }: CapturedOptions,
): Promise<CapturedScene> {
  const captured = await FakeAdapter.start(t, {
    form,
    onReport: (_, response) => {
      if (!isClean) return false;
      sendBytes(response, form.cleanReport(SUBJECT));
      return true;
    },
  });
  const scan = { adapter: captured.url.href };
  const scene = await startScanned(t, { rule: { vulnerabilities }, scan });
  return { ...scene, captured };
}

for (const form of [TRIVY, GRYPE]) {
  const name = form.name.toLowerCase();

  test(`${form.name}: what the adapter of a test sends are the bytes that were captured`, async (t) => {
    const { url } = await FakeAdapter.start(t, { form });
    const fetched = async (path: string): Promise<Buffer> => {
      const answer = await fetch(new URL(path, url), { headers: { accept: REPORT } });
      return Buffer.from(await answer.arrayBuffer());
    };
    const file = (kind: string): Buffer =>
      readFileSync(new URL(`../fixtures/scanners/${name}-adapter${kind}.json`, import.meta.url));
    t.deepEqual(await fetched('/api/v1/metadata'), file('-metadata'));
    t.deepEqual(await fetched('/api/v1/scan/1/report'), file(''));
    t.is(form.cleanReport(SUBJECT), file('-clean').toString());
  });

  test(`${form.name}: an image in which nothing was found is pulled, asked for in the words of the adapter`, async (t) => {
    const scene = await startCaptured(t, form, { atMost: 'unknown', isClean: true });
    t.is((await scene.manifest('latest')).status, 200);
    const { captured, image } = scene;
    t.is(captured.header('/report', 'accept'), REPORT);
    t.like(captured.requests.find(({ body }) => body)?.body, {
      artifact: { ...SUBJECT, mime_type: image.manifest.mediaType },
      enabled_capabilities: [{ type: 'vulnerability', produces_mime_types: [REPORT] }],
    });
  });
}

test('Trivy: a critical finding refuses, one that is at the line does not', async (t) => {
  const refused = await startCaptured(t, TRIVY, { atMost: 'high' });
  const answer = await refused.manifest('latest');
  t.is(codeOf(answer), 'DENIED');
  t.regex(
    messageOf(answer),
    /1 vulnerability above high: CVE-2019-18224 \(critical, libidn2-0 2\.0\.5-1, fixed in 2\.0\.5-1\+deb10u1\)/,
  );
  t.is((await refused.blob(refused.image.layer(0))).status, 403);
  const admitted = await startCaptured(t, TRIVY, { atMost: 'critical' });
  t.is((await admitted.manifest('latest')).status, 200);
  t.is((await admitted.blob(admitted.image.layer(0))).status, 200);
});

test('Grype: both names of a finding refuse, where only what is mended counts the one that is', async (t) => {
  const both = await (await startCaptured(t, GRYPE, { atMost: 'low' })).manifest('latest');
  t.is(codeOf(both), 'DENIED');
  t.regex(messageOf(both), /2 vulnerabilities above low: /);
  const mended = await startCaptured(t, GRYPE, { atMost: 'low', fixableOnly: true });
  t.regex(
    messageOf(await mended.manifest('latest')),
    /1 vulnerability above low: GHSA-cfh5-3ghh-wfjx \(medium, httpclient 4\.1\.1, fixed in 4\.3\.5\)/,
  );
  const admitted = await startCaptured(t, GRYPE, { atMost: 'medium' });
  t.is((await admitted.manifest('latest')).status, 200);
});
