/** Scans by the forms of real adapters. */
import test from 'ava';
import { ANCHORE } from './anchore-form.ts';
import { until } from '../../helpers/until.ts';
import {
  createScans,
  DIGEST,
  FakeAdapter,
  REPOSITORY,
  sendBytes,
  sendError,
  SUBJECT,
} from './fake-adapter.ts';
import { GRYPE } from './grype-form.ts';
import { TRIVY } from './trivy-form.ts';

const ONE = { all: 1, background: 1 };
const AT = Date.parse('2030-01-01T00:00:05.490Z');

for (const form of [TRIVY, GRYPE, ANCHORE]) {
  test(`${form.name}: a scan goes from the request to the report, each header byte for byte`, async (t) => {
    const adapter = await FakeAdapter.start(t, { form });
    const { scan } = createScans(t, adapter.url);
    const outcome = await scan();
    t.is(outcome.kind, 'report', JSON.stringify(outcome));
    t.is(
      adapter.header('/metadata', 'accept'),
      'application/vnd.scanner.adapter.metadata+json; version=1.0',
    );
    t.is(
      adapter.header('POST', 'content-type'),
      'application/vnd.scanner.adapter.scan.request+json; version=1.0',
    );
    t.is(
      adapter.header('POST', 'accept'),
      'application/vnd.scanner.adapter.scan.response+json; version=1.0',
    );
    t.is(adapter.header('/report', 'accept'), form.reportType);
    t.deepEqual(
      adapter.requests.map(({ line }) => line),
      ['GET /api/v1/metadata', 'POST /api/v1/scan', 'GET /api/v1/scan/job%3A123/report'],
    );
    t.deepEqual(adapter.requests[1]?.body, {
      registry: { url: 'http://mirror.example:5000', authorization: 'Bearer abc.def' },
      artifact: {
        repository: REPOSITORY,
        digest: DIGEST,
        mime_type: 'application/vnd.oci.image.manifest.v1+json',
      },
      enabled_capabilities: [{ type: 'vulnerability', produces_mime_types: [form.reportType] }],
    });
  });

  test(`${form.name}: "not ready" is asked again, a second scan is begun where the first is forgotten`, async (t) => {
    const adapter = await FakeAdapter.start(t, {
      form,
      onReport: (request, response, asked) => {
        if (asked === 3) {
          sendError(response, 404, 'cannot find scan job');
          return true;
        }
        if (asked > 4) return false;
        response.writeHead(302, form.pending(request.url ?? ''));
        response.end();
        return true;
      },
    });
    const { scan } = createScans(t, adapter.url);
    t.is((await scan()).kind, 'report');
    t.is(adapter.count('POST'), 2);
    t.is(adapter.count('/report'), 5);
  });

  test(`${form.name}: a clean image has no findings`, async (t) => {
    const adapter = await FakeAdapter.start(t, {
      form,
      onReport: (_, response) => {
        response.writeHead(200, { 'content-type': form.reportType });
        response.end(form.cleanReport(SUBJECT));
      },
    });
    const outcome = await createScans(t, adapter.url).scan();
    t.like(outcome, { kind: 'report', report: { findings: [] } });
  });
}

test('Trivy: its report is read, with the date of its database', async (t) => {
  const adapter = await FakeAdapter.start(t, { form: TRIVY });
  const outcome = await createScans(t, adapter.url).scan();
  t.deepEqual(outcome, {
    kind: 'report',
    database: {
      version: 'Trivy 0.74.0 2029-12-31T06:16:33.000Z 2030-01-03T01:05:12.000Z',
      updatedAt: Date.UTC(2029, 11, 31, 6, 16, 33),
    },
    report: {
      repository: REPOSITORY,
      digest: DIGEST,
      generatedAt: AT,
      scanner: 'Trivy 0.74.0',
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
    },
  });
});

test('Grype: an advisory of GitHub is a finding of its own, and nothing tells how old the database is', async (t) => {
  const adapter = await FakeAdapter.start(t, { form: GRYPE });
  const outcome = await createScans(t, adapter.url).scan();
  const httpclient = { package: 'httpclient', version: '4.1.1', severity: 'medium' } as const;
  t.deepEqual(outcome, {
    kind: 'report',
    database: { version: 'Grype 0.65.1 - -', updatedAt: undefined },
    report: {
      repository: REPOSITORY,
      digest: DIGEST,
      generatedAt: AT,
      scanner: 'Grype 0.65.1',
      findings: [
        { ...httpclient, id: 'GHSA-cfh5-3ghh-wfjx', aliases: [], fixVersion: '4.3.5' },
        { ...httpclient, id: 'CVE-2014-3577', aliases: [], fixVersion: undefined },
      ],
    },
  });
});

test('an advisory of GitHub whose links name its CVE is also known by that', async (t) => {
  const links = [
    'https://github.com/advisories/GHSA-jfh8-c2jp-5v3q',
    'https://nvd.nist.gov/vuln/detail/CVE-2021-44228',
    'https://logging.apache.org/log4j/2.x/security.html',
  ];
  const adapter = await FakeAdapter.start(t, {
    onReport: (_, response) => {
      const report = JSON.parse(TRIVY.cleanReport(SUBJECT)) as object;
      const vulnerabilities = [{ id: 'GHSA-jfh8-c2jp-5v3q', severity: 'High', links }];
      sendBytes(response, JSON.stringify({ ...report, vulnerabilities }));
    },
  });
  const outcome = await createScans(t, adapter.url).scan();
  if (outcome.kind !== 'report') return t.fail(JSON.stringify(outcome));
  t.like(outcome.report.findings, [{ aliases: ['CVE-2021-44228'] }]);
});

test('Anchore: its own name for a fix counts, and severities that only it has', async (t) => {
  const adapter = await FakeAdapter.start(t, { form: ANCHORE });
  const outcome = await createScans(t, adapter.url).scan();
  if (outcome.kind !== 'report') return t.fail(JSON.stringify(outcome));
  t.deepEqual(
    outcome.report.findings.map(({ severity, fixVersion }) => [severity, fixVersion]),
    [
      ['high', '1.10-0ubuntu4.1'],
      ['negligible', undefined],
    ],
  );
});

test("the types of reports are asked for in the adapter's own spelling, if that is harmless", async (t) => {
  const spellings = [
    ['application/vnd.scanner.adaptevuln.report.harbor+json; version=1.0', true],
    ['application/vnd.security.vulnerability.report;version=1.1', true],
    ['application/vnd.security.vulnerability.report+json; version=1.1', true],
    ['application/vnd.security.vulnerability.report; version=1.1\r\nx: y', false],
    ['application/vnd.scanner.adapter.vuln.report.raw', false],
  ] as const;
  for (const [type, isKnown] of spellings) {
    const form = {
      ...TRIVY,
      reportType: type,
      metadata: {
        ...TRIVY.metadata,
        capabilities: [
          {
            consumes_mime_types: ['application/vnd.oci.image.manifest.v1+json'],
            produces_mime_types: [type],
          },
        ],
      },
    };
    const adapter = await FakeAdapter.start(t, { form });
    const outcome = await createScans(t, adapter.url).scan();
    const code = outcome.kind === 'error' ? outcome.code : outcome.kind;
    t.is(code, isKnown ? 'report' : 'incapable', type);
    if (isKnown) t.is(adapter.header('/report', 'accept'), type);
  }
});

test('metadata of either version of its type is read', async (t) => {
  for (const version of ['1.0', '1.1']) {
    const adapter = await FakeAdapter.start(t, {
      onMetadata: (_, response) => {
        const type = `application/vnd.scanner.adapter.metadata+json; version=${version}`;
        response.writeHead(200, { 'content-type': type });
        response.end(JSON.stringify(TRIVY.metadata));
      },
    });
    const { scanner } = await createScans(t, adapter.url).scans.metadata();
    t.is(scanner, 'Trivy 0.74.0');
  }
});

test('what the adapter does not read is unscannable, and it is not asked', async (t) => {
  const adapter = await FakeAdapter.start(t);
  const outcome = await createScans(t, adapter.url).scan({
    mediaType: 'application/vnd.cncf.helm.config.v1+json',
  });
  t.deepEqual(outcome, {
    kind: 'unscannable',
    reason: 'Trivy 0.74.0 does not scan what is application/vnd.cncf.helm.config.v1+json',
  });
  t.is(adapter.count('POST'), 0);
});

test('an adapter that says that it cannot makes an image unscannable', async (t) => {
  const adapter = await FakeAdapter.start(t, {
    onScan: (_, response) => sendError(response, 501, 'no capability'),
  });
  t.deepEqual(await createScans(t, adapter.url).scan(), {
    kind: 'unscannable',
    reason: 'the scanner answered 501: no capability',
  });
});

test('a report that is not there after a second scan is missing', async (t) => {
  const adapter = await FakeAdapter.start(t, {
    onReport: (_, response) => sendError(response, 404, 'cannot find scan job'),
  });
  t.like(await createScans(t, adapter.url).scan(), { kind: 'missing' });
  t.is(adapter.count('POST'), 2);
});

test('the adapter is asked again when it says so, from a second to a minute', async (t) => {
  const sent = 'Tue, 01 Jan 2030 00:00:00 GMT';
  const headers = [
    [{ 'refresh-after': '7' }, 7_000],
    [{ 'retry-after': '9' }, 9_000],
    [{ 'refresh-after': '3', 'retry-after': '9' }, 3_000],
    [{ 'refresh-after': '0' }, 1_000],
    [{ 'refresh-after': '-5' }, 1_000],
    [{ 'refresh-after': '86400' }, 60_000],
    [{ 'refresh-after': '1e9' }, undefined],
    [{ 'retry-after': 'Tue, 01 Jan 2030 00:00:20 GMT', date: sent }, 20_000],
    [{ 'retry-after': 'soon' }, undefined],
    [{}, undefined],
  ] as const;
  for (const [given, expected] of headers) {
    const adapter = await FakeAdapter.start(t, {
      onReport: (_, response, asked) => {
        if (asked > 1) return false;
        response.writeHead(302, given).end();
        return true;
      },
    });
    const { scan, pauses } = createScans(t, adapter.url);
    t.is((await scan()).kind, 'report');
    t.deepEqual(pauses, [1_000, expected ?? 1_500], JSON.stringify(given));
  }
});

test('a scan has a deadline, however often "not ready" comes', async (t) => {
  const adapter = await FakeAdapter.start(t, {
    onReport: (request, response) =>
      void response.writeHead(302, TRIVY.pending(request.url ?? '')).end(),
  });
  const { scan, pauses } = createScans(t, adapter.url, { scanMs: 60_000 });
  t.deepEqual(await scan(), {
    kind: 'error',
    code: 'deadline',
    reason: 'the scanner had no report in time',
  });
  t.true(pauses.reduce((sum, each) => sum + each, 0) <= 60_000);
});

test('an adapter that restarts during a scan is not given up, one that stays away is', async (t) => {
  const restarting = await FakeAdapter.start(t, {
    onReport: (request, response, asked) => {
      if (asked > 3) return false;
      if (asked === 1) {
        request.socket.destroy();
        return true;
      }
      sendError(response, 503, 'starting');
      return true;
    },
  });
  t.is((await createScans(t, restarting.url).scan()).kind, 'report');
  const away = await FakeAdapter.start(t, {
    onReport: (_, response) => sendError(response, 503, 'starting'),
  });
  t.deepEqual(await createScans(t, away.url).scan(), {
    kind: 'error',
    code: 'failed',
    reason: 'the scanner answered 503: starting',
  });
  t.is(away.count('/report'), 4);
});

test('Anchore: a scan that it has not begun yet is asked for again, one that failed is given up', async (t) => {
  const slow = await FakeAdapter.start(t, {
    form: ANCHORE,
    onReport: (_, response, asked) => {
      if (asked > 1) return false;
      sendError(response, 500, 'create scan not ready');
      return true;
    },
  });
  t.is((await createScans(t, slow.url).scan()).kind, 'report');
  const failing = await FakeAdapter.start(t, {
    form: ANCHORE,
    onReport: (_, response) => sendError(response, 500, 'analysis failed'),
  });
  t.deepEqual(await createScans(t, failing.url).scan(), {
    kind: 'error',
    code: 'failed',
    reason: 'the scanner answered 500: analysis failed',
  });
  t.is(failing.count('/report'), 2);
});

test('one scan of a digest runs at a time, so many of all; what somebody waits for goes first', async (t) => {
  let running = 0;
  let most = 0;
  const order: string[] = [];
  const adapter = await FakeAdapter.start(t, {
    onReport: (request, response) => {
      running--;
      const digest = decodeURIComponent(request.url ?? '').match(/sha256:\w+/)?.[0];
      sendBytes(response, TRIVY.report({ ...SUBJECT, digest: digest as typeof DIGEST }));
    },
    onScan: (_, response) => {
      most = Math.max(most, ++running);
      const digest = adapter.requests.at(-1)?.body?.artifact?.digest ?? '';
      order.push(digest.slice(-1));
      response.writeHead(202).end(JSON.stringify({ id: digest }));
    },
  });
  const { scans, scan } = createScans(t, adapter.url, { places: ONE });
  const wanted = [1, 2, 3].map(async (at) => scan({ digest: digestOf(at), isBackground: true }));
  wanted.push(
    scan({ digest: digestOf(4) }),
    scan({ digest: digestOf(3) }),
    scan({ digest: digestOf(4) }),
  );
  const outcomes = await Promise.all(wanted);
  t.true(outcomes.every(({ kind }) => kind === 'report'));
  t.is(most, 1);
  t.deepEqual(order, ['1', '4', '3', '2']);
  t.is(outcomes[3], outcomes[5]);
  await scans.close();
  t.like(await scan(), { kind: 'error', code: 'closing' });
});

test('what an adapter tells of itself counts for half a minute, a failure not at all', async (t) => {
  const adapter = await FakeAdapter.start(t, {
    onMetadata: (_, response, asked) => {
      if (asked > 1) return false;
      sendError(response, 500, 'starting');
      return true;
    },
  });
  const { scans, clock } = createScans(t, adapter.url);
  await t.throwsAsync(scans.metadata(), { message: 'the scanner answered 500: starting' });
  await Promise.all([scans.metadata(), scans.metadata()]);
  clock.advance(29_999);
  await scans.metadata();
  t.is(adapter.count('/metadata'), 2);
  clock.advance(1);
  await scans.metadata();
  t.is(adapter.count('/metadata'), 3);
});

test('one place is kept for scans that somebody waits for', async (t) => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const adapter = await FakeAdapter.start(t, {
    onScan: () => {
      if (adapter.requests.at(-1)?.body?.artifact?.digest === DIGEST) return false;
      resolve();
      return true;
    },
  });
  const { scan } = createScans(t, adapter.url, { places: { all: 2, background: 1 } });
  for (const at of [1, 2, 3]) void scan({ digest: digestOf(at), isBackground: true });
  await asked;
  t.is((await scan()).kind, 'report');
  // One that waits in the background is begun at once for who wants it.
  void scan({ digest: digestOf(3) });
  await until('the third', () => adapter.count('POST') === 3);
  t.is(adapter.requests.at(-1)?.body?.artifact?.digest, digestOf(3));
});

test('scans that are stuck cost no other image: each gives up its place, sixteen at most, and waits on for its report', async (t) => {
  const stuck = new Set<string>();
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const adapter = await FakeAdapter.start(t, {
    onScan: (_, response) => {
      const { digest = '' } = adapter.requests.at(-1)?.body?.artifact ?? {};
      response.writeHead(202).end(JSON.stringify({ id: digest }));
    },
    onReport: async (request, response) => {
      const digest = /sha256:\w+/.exec(decodeURIComponent(request.url ?? ''))?.[0] as typeof DIGEST;
      if (stuck.has(digest)) await opened;
      sendBytes(response, TRIVY.report({ ...SUBJECT, digest }));
    },
  });
  const { scan } = createScans(t, adapter.url, { places: ONE, placeMs: 1 });
  const waiting = Array.from({ length: 17 }, async (_, at) => {
    stuck.add(digestOf(at));
    return scan({ digest: digestOf(at), isBackground: at % 2 === 1 });
  });
  await until('all are stuck', () => adapter.count('/report') === 17);
  // The seventeenth keeps the only place: what nobody bounds would be a way to fill a scanner.
  const next = scan({ digest: DIGEST });
  for (let round = 0; round < 50; round++) await fetch(new URL('/api/v1/metadata', adapter.url));
  t.is(adapter.count('POST'), 17);
  open();
  t.is((await next).kind, 'report');
  for (const each of waiting) t.is((await each).kind, 'report');
});

test('one stuck scan in each place leaves room for the next image', async (t) => {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  t.teardown(open);
  const adapter = await FakeAdapter.start(t, {
    onReport: async () => {
      const last = adapter.requests.findLast(({ body }) => body)?.body?.artifact?.digest;
      if (last === DIGEST) return false;
      await opened;
      return false;
    },
  });
  const { scan } = createScans(t, adapter.url, { placeMs: 1 });
  for (const at of [1, 2, 3, 4]) void scan({ digest: digestOf(at) });
  await until('all are stuck', () => adapter.count('/report') === 4);
  t.is((await scan()).kind, 'report');
  open();
});

test('what waits in the background is begun after all that somebody waits for', async (t) => {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const order: string[] = [];
  const adapter = await FakeAdapter.start(t, {
    onScan: (_, response) => {
      const { digest = '' } = adapter.requests.at(-1)?.body?.artifact ?? {};
      order.push(digest.slice(-1));
      response.writeHead(202).end(JSON.stringify({ id: digest }));
    },
    onReport: async (request, response) => {
      await opened;
      const digest = /sha256:\w+/.exec(decodeURIComponent(request.url ?? ''))?.[0] as typeof DIGEST;
      sendBytes(response, TRIVY.report({ ...SUBJECT, digest }));
    },
  });
  const { scan } = createScans(t, adapter.url, { places: { all: 1, background: 1 } });
  const first = scan({ digest: digestOf(0) });
  await until('the first has begun', () => order.length === 1);
  const behind = [1, 2].map(async (at) => scan({ digest: digestOf(at), isBackground: true }));
  // The first of them stands in line already.
  const ahead = [1, 3, 4].map(async (at) => scan({ digest: digestOf(at) }));
  open();
  await Promise.all([first, ...behind, ...ahead]);
  t.deepEqual(order, ['0', '1', '3', '4', '2']);
});

test('what waits for its turn is bounded, and the background leaves room', async (t) => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const adapter = await FakeAdapter.start(t, { onScan: () => resolve() });
  const { scans, scan } = createScans(t, adapter.url, { places: ONE });
  const first = scan({ digest: digestOf(0), isBackground: true });
  await asked;
  const busy = { kind: 'error', code: 'busy', reason: '2000 scans wait already' } as const;
  const fill = (from: number, isBackground: boolean): ReturnType<typeof scan>[] =>
    Array.from({ length: 2_000 }, async (_, at) =>
      scan({ digest: digestOf(from + at), isBackground }),
    );
  const waiting = fill(1, true);
  t.deepEqual(await scan({ digest: digestOf(9_000), isBackground: true }), busy);
  waiting.push(...fill(3_000, false));
  t.deepEqual(await scan({ digest: digestOf(9_000) }), busy);
  await scans.close();
  const outcomes = await Promise.all([first, ...waiting]);
  t.true(outcomes.every((outcome) => outcome.kind === 'error' && outcome.code === 'closing'));
});

function digestOf(at: number): typeof DIGEST {
  return `sha256:${at.toString(16).padStart(64, '0')}` as typeof DIGEST;
}

test('the login of the scanner is one that adapters can read, and is asked for when the scan begins', async (t) => {
  const adapter = await FakeAdapter.start(t);
  const { scan } = createScans(t, adapter.url);
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  for (const bad of [
    '',
    'abc',
    'Bearer a b',
    'Bearer a\r\nb',
    'Digest x',
    basic('user:pass:word'),
    basic('user'),
  ]) {
    t.like(await scan({ credential: async () => bad }), { kind: 'error', code: 'credential' }, bad);
  }
  t.is(adapter.count('POST'), 0);
  for (const good of ['Bearer eyJ.a-b_c.d~e', basic('scanner:secret')]) {
    t.is((await scan({ credential: async () => good })).kind, 'report', good);
    t.is(adapter.requests.findLast(({ body }) => body)?.body?.registry?.authorization, good);
  }
  const failing = await scan({ credential: async () => Promise.reject(new Error('no key')) });
  t.like(failing, { kind: 'error', code: 'failed', reason: 'no key' });
});

test('an adapter gets the login that it says it comes in with, a name and a password unless it says otherwise', async (t) => {
  const told = { undefined: 'Basic', Basic: 'Basic', Bearer: 'Bearer', Digest: 'Basic' };
  for (const [type, expected] of Object.entries(told)) {
    const properties = {
      ...(type !== 'undefined' && { 'harbor.scanner-adapter/registry-authorization-type': type }),
    };
    const form = { ...TRIVY, metadata: { ...TRIVY.metadata, properties } };
    const adapter = await FakeAdapter.start(t, { form });
    const asked: string[] = [];
    const credential = async (scheme: string): Promise<string> => {
      asked.push(scheme);
      return 'Bearer abc.def';
    };
    t.is((await createScans(t, adapter.url).scan({ credential })).kind, 'report');
    t.deepEqual(asked, [expected], type);
  }
});

test("the adapter's own login goes with each request, and what it refuses is told", async (t) => {
  const adapter = await FakeAdapter.start(t);
  const login = (): Record<string, string> => ({ 'X-ScannerAdapter-API-Key': 'key' });
  await createScans(t, adapter.url, { login }).scan();
  t.true(adapter.requests.every(({ raw }) => raw.includes('X-ScannerAdapter-API-Key')));
  const shut = await FakeAdapter.start(t, {
    onMetadata: (_, response) => sendError(response, 401, 'unauthorized'),
  });
  t.like(await createScans(t, shut.url).scan(), { kind: 'error', code: 'unauthorized' });
});

test('an adapter may be at a path of its host', async (t) => {
  const adapter = await FakeAdapter.start(t, {
    onMetadata: () => false,
    onReport: (request, response) => {
      if (request.url?.endsWith('/metadata')) response.end(JSON.stringify(TRIVY.metadata));
      else if (request.method === 'POST') response.writeHead(202).end('{"id":"1"}');
      else sendBytes(response, TRIVY.report(SUBJECT));
    },
  });
  t.is((await createScans(t, new URL('/trivy/', adapter.url)).scan()).kind, 'report');
  t.is(adapter.requests[0]?.line, 'GET /trivy/api/v1/metadata');
});
