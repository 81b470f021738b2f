/** An adapter that lies, floods or keeps silent gives no report, and costs little. */
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { ScanOutcome } from '../../../src/admission/vulnerabilities/scan-outcome.ts';
import { serve } from '../../helpers/serve.ts';
import {
  createScans,
  DIGEST,
  FakeAdapter,
  OCI_MANIFEST,
  OTHER_DIGEST,
  REPOSITORY,
  sendBytes,
  SUBJECT,
  type FakeAdapterOptions,
  type ScansOptions,
} from './fake-adapter.ts';
import { TRIVY } from './trivy-form.ts';

const MIB = 1024 * 1024;
const REPORT = JSON.parse(TRIVY.report(SUBJECT)) as Record<string, unknown>;
const [, FINDING] = REPORT['vulnerabilities'] as [object, Record<string, unknown>];

async function scan(
  t: ExecutionContext,
  options: FakeAdapterOptions,
  scansOptions: ScansOptions = {},
): Promise<ScanOutcome> {
  const adapter = await FakeAdapter.start(t, options);
  return createScans(t, adapter.url, scansOptions).scan();
}

async function report(
  t: ExecutionContext,
  document: string | Buffer | object,
): Promise<ScanOutcome> {
  const isWritten = typeof document === 'string' || Buffer.isBuffer(document);
  const bytes = isWritten ? document : JSON.stringify(document);
  return scan(t, { onReport: (_, response) => sendBytes(response, bytes) });
}

/** An answer that is sent for ever, as fast as it is read; `sent`: how many bytes of it went out. */
class Flood {
  sent = 0;

  readonly answer = (response: ServerResponse, status: number): void => {
    const { socket } = response;
    const chunk = Buffer.alloc(64 * 1024, ' ');
    response.writeHead(status, { 'content-type': TRIVY.reportType });
    const send = (): void => {
      while (!response.destroyed && response.write(chunk));
      this.sent = socket?.bytesWritten ?? this.sent;
    };
    response.on('drain', send);
    send();
  };
}

test('an adapter that is down is told as such', async (t) => {
  const server = createServer();
  const url = await serve(t, server);
  server.close();
  t.like(await createScans(t, url).scan(), { kind: 'error', code: 'unreachable' });
});

test('a silent adapter is not waited for', async (t) => {
  const timing = { headersMs: 50 };
  const silent = { onMetadata: () => {} };
  t.like(await scan(t, silent, { timing }), { kind: 'error', code: 'timeout' });
  t.like(await scan(t, { onScan: () => {} }, { timing }), { kind: 'error', code: 'timeout' });
  t.like(await scan(t, { onReport: () => {} }, { timing }), { kind: 'error', code: 'timeout' });
});

test('an answer that goes on for ever in small pieces ends after its time', async (t) => {
  const drip = (response: ServerResponse): void => {
    const timer = setInterval(() => response.write('  '), 10);
    response.once('close', () => clearInterval(timer));
  };
  const outcome = await scan(
    t,
    {
      onMetadata: (_, response) => {
        response.writeHead(200);
        drip(response);
      },
    },
    { requestMs: 200 },
  );
  t.like(outcome, { kind: 'error', code: 'timeout' });
  t.regex(
    (outcome as { reason: string }).reason,
    /^no whole answer from 127\.0\.0\.1:\d+ within 200 ms$/,
  );
});

test('an endless report is left at 16 MiB', async (t) => {
  const flood = new Flood();
  const outcome = await scan(t, { onReport: (_, response) => flood.answer(response, 200) });
  t.deepEqual(outcome, {
    kind: 'error',
    code: 'too-large',
    reason: 'the answer has more than 16777216 bytes',
  });
  t.true(flood.sent < 64 * MIB, String(flood.sent));
});

test('an endless answer of any other kind is left much earlier', async (t) => {
  const cases = [
    ['onMetadata', 200, { code: 'too-large' }],
    ['onScan', 202, { code: 'too-large' }],
    // The body of an error is only told to people.
    ['onMetadata', 503, { code: 'failed', reason: 'the scanner answered 503' }],
    ['onScan', 500, { code: 'failed', reason: 'the scanner answered 500' }],
    ['onReport', 500, { code: 'failed' }],
    ['onReport', 404, { kind: 'missing' }],
    ['onReport', 302, { code: 'deadline' }],
  ] as const;
  for (const [what, status, expected] of cases) {
    const flood = new Flood();
    const answer = (_: unknown, response: ServerResponse): void => flood.answer(response, status);
    t.like(await scan(t, { [what]: answer }, { scanMs: 4_000 }), expected, `${what} ${status}`);
    // What the sockets of both sides hold went out as well.
    t.true(flood.sent < 16 * MIB, `${what} ${status}: ${flood.sent}`);
  }
});

test('a report that is no object, or cut, is none', async (t) => {
  for (const text of [
    '',
    'x',
    '[]',
    'null',
    '"a"',
    '<html></html>',
    JSON.stringify(REPORT).slice(0, -1),
  ]) {
    t.like(await report(t, text), { kind: 'error', code: 'malformed' }, text.slice(0, 20));
  }
});

test('nesting and mere number are bounded before anything is built of them', async (t) => {
  const deep = `{"a":${'['.repeat(MIB)}`;
  t.like(await report(t, deep), {
    code: 'too-large',
    reason: 'the answer is nested in more than 32 levels',
  });
  const many = `{"a":[${'{},'.repeat(5 * MIB)}{}]}`;
  t.like(await report(t, many), {
    code: 'too-large',
    reason: 'the answer has more than 1000000 items',
  });
  // Brackets and commas in a text are none.
  const told = { ...REPORT, note: `\\"${'[,"'.repeat(MIB / 2)}` };
  t.is((await report(t, told)).kind, 'report');
  t.like(await report(t, `{"a":"${'\\\\'.repeat(9)}",${deep.slice(1)}`), { code: 'too-large' });
  t.like(await report(t, `{"a":"${'['.repeat(MIB)}`), { code: 'malformed' });
});

test('10,000 findings are read, one more is refused', async (t) => {
  const many = (count: number): object => ({
    ...REPORT,
    vulnerabilities: Array.from({ length: count }, (_, at) => ({
      ...FINDING,
      description: '',
      id: `CVE-2030-${at}`,
    })),
  });
  const outcome = await report(t, many(10_000));
  t.is(outcome.kind === 'report' && outcome.report.findings.length, 10_000);
  t.deepEqual(await report(t, many(10_001)), {
    kind: 'error',
    code: 'too-large',
    reason: 'the report has more than 10000 findings',
  });
});

test('a report about something else, or about nothing, is refused', async (t) => {
  const lies: Record<string, unknown> = {
    'another digest': { repository: REPOSITORY, digest: OTHER_DIGEST },
    'the digest in capitals': { repository: REPOSITORY, digest: DIGEST.toUpperCase() },
    'another repository': { repository: 'docker.io/library/httpd', digest: DIGEST },
    'no repository': { digest: DIGEST },
    'no digest': { repository: REPOSITORY },
    'a list of digests': { repository: REPOSITORY, digest: [DIGEST] },
    'a list': [SUBJECT],
    nothing: undefined,
  };
  for (const [what, artifact] of Object.entries(lies)) {
    t.like(
      await report(t, { ...REPORT, artifact }),
      { kind: 'error', code: 'other-subject' },
      what,
    );
  }
});

test('a report that does not say who made it and when is refused', async (t) => {
  for (const change of [
    { scanner: undefined },
    { scanner: 'Trivy' },
    { generated_at: undefined },
    { generated_at: 'now' },
  ]) {
    t.like(
      await report(t, { ...REPORT, ...change }),
      { code: 'malformed' },
      JSON.stringify(change),
    );
  }
});

test('findings that cannot be read spoil the report, they are not left out', async (t) => {
  const spoilt = [
    null,
    'CVE-2030-1',
    {},
    { ...FINDING, id: '' },
    { ...FINDING, id: 7 },
    { ...FINDING, id: 'CVE 1' },
    { ...FINDING, id: 'CVE\n1' },
    { ...FINDING, id: 'C'.repeat(257) },
    { ...FINDING, package: 'p'.repeat(1_025) },
    { ...FINDING, version: {} },
  ];
  for (const finding of spoilt) {
    const told = { ...REPORT, severity: 'Low', vulnerabilities: [finding] };
    t.like(await report(t, told), { code: 'malformed' }, JSON.stringify(finding)?.slice(0, 80));
  }
  for (const vulnerabilities of [{}, 'none', 0]) {
    t.like(await report(t, { ...REPORT, vulnerabilities }), { code: 'malformed' });
  }
  const { vulnerabilities: _, ...rest } = REPORT;
  t.like(await report(t, { ...rest, severity: 'Unknown', sbom: {} }), { code: 'malformed' });
});

test('a report that calls the image worse than its list is cut', async (t) => {
  t.deepEqual(await report(t, { ...REPORT, vulnerabilities: [] }), {
    kind: 'error',
    code: 'malformed',
    reason: 'the report calls the image critical and lists nothing as bad as that',
  });
});

test('severities of no scale are the worst, and texts cannot move a cursor', async (t) => {
  const words = ['IMPORTANT', 'low ', 'HIGH', '', null, undefined, 'none', 3, ['Low']];
  const vulnerabilities = words.map((severity) => ({
    ...FINDING,
    package: 'a\u001B[2J\r\n\u202Eb',
    severity,
  }));
  const outcome = await report(t, { ...REPORT, vulnerabilities });
  if (outcome.kind !== 'report') return t.fail(JSON.stringify(outcome));
  t.deepEqual(
    outcome.report.findings.map(({ severity }) => severity),
    ['critical', 'low', 'high', 'unknown', 'unknown', 'unknown', 'unknown', 'critical', 'critical'],
  );
  t.is(outcome.report.findings[0]?.package, 'a?[2J???b');
});

test('an alias is one that the links name alone', async (t) => {
  const nvd = 'https://nvd.nist.gov/vuln/detail/CVE-2021-44228';
  const cases: [string, unknown, string[]][] = [
    ['GHSA-jfh8-c2jp-5v3q', [nvd, nvd.toLowerCase()], ['cve-2021-44228']],
    ['GHSA-jfh8-c2jp-5v3q', [nvd, 'https://nvd.nist.gov/vuln/detail/CVE-2021-45046'], []],
    ['GHSA-jfh8-c2jp-5v3q', ['https://evil.example/CVE-2021-44228', `${nvd}/../CVE-1-1`], []],
    [
      'CVE-2021-44228',
      [nvd, 'https://github.com/advisories/GHSA-jfh8-c2jp-5v3q'],
      ['GHSA-jfh8-c2jp-5v3q'],
    ],
    ['CVE-2021-44228', ['https://nvd.nist.gov/vuln/detail/CVE-2021-45046'], []],
    ['RHSA-2024:1', [nvd], []],
    ['GHSA-jfh8-c2jp-5v3q', nvd, []],
    ['GHSA-jfh8-c2jp-5v3q', [{}, 7, null], []],
  ];
  for (const [id, links, aliases] of cases) {
    const outcome = await report(t, { ...REPORT, vulnerabilities: [{ ...FINDING, id, links }] });
    if (outcome.kind !== 'report') return t.fail(JSON.stringify(outcome));
    t.deepEqual(outcome.report.findings[0]?.aliases, aliases, `${id} ${JSON.stringify(links)}`);
  }
});

test('a report of a wrong content type is none', async (t) => {
  for (const type of [
    'text/html',
    'application/octet-stream',
    'application/vnd.security.sbom.report+json; version=1.0',
  ]) {
    const outcome = await scan(t, {
      onReport: (_, response) => {
        response.writeHead(200, { 'content-type': type });
        response.end(JSON.stringify(REPORT));
      },
    });
    t.like(outcome, { kind: 'error', code: 'wrong-type' }, type);
  }
  const outcome = await scan(t, {
    onReport: (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(REPORT));
    },
  });
  t.is(outcome.kind, 'report');
});

test('nobody is followed: a redirect elsewhere ends the scan, and no other host is asked', async (t) => {
  const elsewhere = await FakeAdapter.start(t);
  const report = new URL('/api/v1/scan/job%3A123/report', elsewhere.url).href;
  const redirect = (status: number, location: string) => (_: unknown, response: ServerResponse) =>
    void response.writeHead(status, { location }).end();
  const cases: FakeAdapterOptions[] = [
    { onReport: redirect(302, report) },
    { onReport: redirect(302, '/login') },
    { onReport: redirect(302, 'file:///api/v1/scan/job%3A123/report') },
    { onReport: redirect(302, '//[') },
    { onReport: redirect(307, report) },
    { onReport: redirect(301, '/api/v1/scan/job%3A123/report') },
    { onScan: redirect(307, report) },
    { onMetadata: redirect(302, new URL('/api/v1/metadata', elsewhere.url).href) },
  ];
  for (const options of cases) {
    t.like(await scan(t, options), { kind: 'error', code: 'redirected' });
  }
  t.deepEqual(elsewhere.requests, []);
});

test('an identifier of a scan leads nowhere else', async (t) => {
  for (const id of ['', '.', '..', 'a\nb', 'x'.repeat(513), 7, undefined]) {
    const outcome = await scan(t, {
      onScan: (_, response) => void response.writeHead(202).end(JSON.stringify({ id })),
    });
    t.like(outcome, { kind: 'error', code: 'malformed' }, String(id));
  }
  const adapter = await FakeAdapter.start(t, {
    onScan: (_, response) => void response.writeHead(202).end('{"id":"../../metadata?x#y"}'),
  });
  t.is((await createScans(t, adapter.url).scan()).kind, 'report');
  t.is(adapter.requests.at(-1)?.line, 'GET /api/v1/scan/..%2F..%2Fmetadata%3Fx%23y/report');
});

test('what a failing adapter says is short, in one line and without secrets', async (t) => {
  const said = `pull failed\r\n\u001B[31m Authorization: Bearer abcdefghijklmnop ${'x'.repeat(500)}`;
  const outcome = await scan(t, {
    onReport: (_, response) => {
      response.writeHead(500).end(JSON.stringify({ error: { message: said } }));
    },
  });
  if (outcome.kind !== 'error') return t.fail(outcome.kind);
  t.is(outcome.code, 'failed');
  t.true(outcome.reason.length < 250);
  t.notRegex(outcome.reason, /\p{Cc}|abcdefghijklmnop/u);
  t.regex(outcome.reason, /^the scanner answered 500: pull failed/);
});

test('metadata of nonsense says nothing', async (t) => {
  for (const text of ['', '[]', '{}', '{"scanner":{}}', '{"scanner":"x","capabilities":[]}']) {
    const outcome = await scan(t, { onMetadata: (_, response) => void response.end(text) });
    t.like(outcome, { kind: 'error', code: 'malformed' }, text);
  }
});

test('an adapter that scans no images makes nothing unscannable: that could be let through', async (t) => {
  const { reportType } = TRIVY;
  const useless = [
    [],
    [7],
    [{}],
    [{ produces_mime_types: 'x', consumes_mime_types: {} }],
    [{ produces_mime_types: [reportType], consumes_mime_types: [] }],
    [
      {
        produces_mime_types: [reportType],
        consumes_mime_types: ['application/vnd.cyclonedx+json'],
      },
    ],
    [{ type: 'sbom', produces_mime_types: [reportType], consumes_mime_types: [OCI_MANIFEST] }],
  ];
  for (const capabilities of useless) {
    const outcome = await scan(t, {
      onMetadata: (_, response) => void response.end(JSON.stringify({ scanner: {}, capabilities })),
    });
    t.like(outcome, { kind: 'error', code: 'incapable' }, JSON.stringify(capabilities));
  }
});

test('a mirror that stops leaves no scan behind', async (t) => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const adapter = await FakeAdapter.start(t, { onReport: () => resolve() });
  const { scans, scan } = createScans(t, adapter.url, { places: { all: 1, background: 1 } });
  let minted = 0;
  const credential = async (): Promise<string> => `Bearer ${++minted}`;
  const both = [scan({ credential }), scan({ credential, digest: OTHER_DIGEST })];
  await asked;
  await scans.close();
  for (const outcome of await Promise.all(both)) {
    t.like(outcome, { kind: 'error', code: 'closing' });
  }
  t.deepEqual([adapter.count('POST'), minted], [1, 1]);
});
