import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'ava';
import { UPSTREAM } from '../helpers/scene.ts';
import { attachDocument } from './documents.ts';
import { codeOf, messageOf } from './guarded.ts';
import { startScanned, type ScannedScene } from './scanned.ts';
import { sendBytes, sendError } from './vulnerabilities/fake-adapter.ts';

type Fault = (scene: ScannedScene) => void;

/** What a scanner does, and what clients read of it. */
const FAULTS: Readonly<Record<string, readonly [fault: Fault, told: RegExp]>> = {
  'is down': [
    ({ scanner }) => (scanner.onMetadata = (response) => void response.destroy()),
    /the scanner gives no report: .*(?:socket|closed|hang up|reset)/i,
  ],
  'says that it failed': [
    ({ scanner }) => (scanner.onReport = (_, response) => sendError(response, 500, 'no disk')),
    /the scanner gives no report: the scanner answered 500: no disk/,
  ],
  'talks nonsense': [
    ({ scanner }) => (scanner.onReport = (_, response) => sendBytes(response, '<html>')),
    /the answer of the scanner is no JSON object/,
  ],
  'lies about the digest': [
    ({ scanner }) => {
      const other = `sha256:${'0'.repeat(64)}`;
      scanner.onReport = ({ repository }, response) =>
        sendBytes(response, JSON.stringify(scanner.reportOn({ repository, digest: other })));
    },
    /the report is not about this digest/,
  ],
  'has no end': [
    ({ scanner }) => (scanner.onReport = (_, response) => sendEndless(response)),
    /the answer has more than 16777216 bytes/,
  ],
  'finds more than anybody reads': [
    ({ scanner, image }) => {
      const findings = Array.from({ length: 10_001 }, (_, at) => ({ id: `CVE-${at}` }));
      scanner.findings.set(image.manifest.digest, findings);
    },
    /the report has more than 10000 findings/,
  ],
  'leads elsewhere': [
    ({ scanner }) => {
      scanner.onReport = (_, response) =>
        void response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
    },
    /the scanner answered 302 and leads to 169\.254\.169\.254/,
  ],
};

/** Until nobody reads any more. */
async function sendEndless(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  await pipeline(Readable.from(endless()), response).catch(() => undefined);
}

function* endless(): Generator<string> {
  yield '{"a":"';
  for (;;) yield 'a'.repeat(2 ** 20);
}

for (const [name, [fault, told]] of Object.entries(FAULTS)) {
  test(`a scanner that ${name}: refused by enforce with the reason, not by onError: allow nor audit`, async (t) => {
    const scene = await startScanned(t);
    const { manifest, blob, image, mirror, registry, ruled } = scene;
    fault(scene);
    const refused = await manifest('latest');
    t.is(refused.status, 403);
    t.is(codeOf(refused), 'DENIED');
    t.regex(messageOf(refused), told);
    // What is wrong with it nobody knows: another one would be no better.
    t.regex(messageOf(refused), /; ask again when there is a report of it, or ask /);
    t.is((await blob(image.layer(0))).status, 403);
    const upstreams = { [UPSTREAM]: { url: registry.url } };
    const lenient = ruled({ vulnerabilities: { onError: 'allow' } });
    t.is((await mirror.reload({ upstreams, admission: lenient })).status, 200);
    t.is((await manifest('latest')).status, 200);
    t.is((await blob(image.layer(0))).status, 200);
    const audit = ruled({ mode: 'audit' });
    t.is((await mirror.reload({ upstreams, admission: audit })).status, 200);
    t.is((await manifest('latest')).status, 200);
  });
}

test('10,000 findings are read, and the worst of them are named', async (t) => {
  const { scanner, image, manifest } = await startScanned(t);
  const findings = Array.from({ length: 10_000 }, (_, at) => ({
    id: `CVE-2030-${at}`,
    severity: at === 7_000 ? 'Critical' : 'High',
  }));
  scanner.findings.set(image.manifest.digest, findings);
  t.regex(
    messageOf(await manifest('latest')),
    /10000 vulnerabilities above medium: CVE-2030-7000 \(critical.* and 9995 more/,
  );
});

test('a 302 without a header is a report that is not there yet', async (t) => {
  const { scanner, manifest } = await startScanned(t);
  let left = 2;
  scanner.onReport = (_, response) => {
    if ((left -= 1) >= 0) response.writeHead(302).end();
  };
  t.is((await manifest('latest')).status, 200);
  t.is(scanner.scans.length, 1);
});

test('what no scanner reads is refused or admitted as unscannable says, and no scan is asked for', async (t) => {
  const scene = await startScanned(t);
  const { registry, manifest, mirror, ruled, scanner } = scene;
  const chart = attachDocument(registry, {
    configType: 'application/vnd.cncf.helm.config.v1+json',
    layerType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
  });
  const { digest } = chart.manifest;
  t.regex(messageOf(await manifest(digest)), /it cannot be scanned: Trivy 0\.74\.0 does not scan/);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const lenient = ruled({ vulnerabilities: { unscannable: 'allow' } });
  t.is((await mirror.reload({ upstreams, admission: lenient })).status, 200);
  t.is((await manifest(digest)).status, 200);
  t.is(scanner.scans.length, 0);
});

test('a scan that takes longer than a client waits goes on, and the next pull finds it done', async (t) => {
  const { scanner, manifest, clock, registry, image } = await startScanned(t);
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  scanner.onReport = async () => held;
  const gate = registry.hold(image.manifest);
  const asked = manifest('latest');
  await gate.arrived();
  clock.advance(20_000);
  gate.open();
  const pending = await asked;
  t.is(pending.status, 503);
  t.is(pending.headers['retry-after'], '5');
  t.regex(messageOf(pending), /is still being found out/);
  release();
  t.is((await manifest('latest')).status, 200);
  t.is(scanner.scans.length, 1);
});
