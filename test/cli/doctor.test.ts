import test, { type ExecutionContext } from 'ava';
import type { CheckupOptions } from '../../src/upstream/checkup/checkup.ts';
import { issueCertificates } from '../helpers/certificate.ts';
import { get } from '../helpers/client.ts';
import { FakeRegistry, type FakeRegistryOptions } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { TEST_TIMING } from '../helpers/mirror.ts';
import { startProxy } from '../helpers/proxy.ts';
import { runDoctor } from './run-doctor.ts';

const creating = issueCertificates({
  lasting: { days: 90 },
  ending: { days: 5 },
  expired: { days: -1 },
  foreign: { days: 90, names: ['DNS:other.example'] },
});
const USER = { username: 'robot', password: 'hunter2' };
const LOGIN = 'credentials: { username: robot, password: { env: PASSWORD } }';
const ENV = { PASSWORD: USER.password };
const IMAGE = 'reg.example/library/app:latest';

/** A registry with `library/app:latest`. */
async function startRegistry(
  t: ExecutionContext,
  options: FakeRegistryOptions = {},
): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start(t, options);
  registry.addImage('library/app', 'latest', buildImage({ seed: 'app', layers: [100] }), {
    name: 'app',
  });
  return registry;
}

/** The configuration of one upstream. */
function site(url: string, keys = ''): string {
  return `upstreams:\n  reg.example:\n    url: ${url}\n    ${keys}\ndefaultUpstream: reg.example\n`;
}

const NOT_REACHED = ['registry', 'credential', 'quota']
  .map((check) => `  skipped  ${check.padEnd(10)}  not reached\n`)
  .join('');
const NO_ANSWER = `${NOT_REACHED}  skipped  clock       no answer to compare with
  skipped  image       not reached
`;
const HTTP_HEAD = `reg.example (http://127.0.0.1:PORT)
  ok       name        127.0.0.1 is an address
  ok       connection  127.0.0.1:PORT in N ms
  skipped  tls         the url is http
`;
const HTTPS_HEAD = `reg.example (https://127.0.0.1:PORT)
  ok       name        127.0.0.1 is an address
  ok       connection  127.0.0.1:PORT in N ms
`;
const CLOCK = `  ok       clock       within 60 s of the registry's\n`;
const THERE = `  ok       image       ${IMAGE} is there, DIGEST\n`;
const OPEN = `  ok       registry    /v2/ asks for no login (200)
  ok       credential  none is asked for
  ok       quota       anonymous: tells no limit
${CLOCK}${THERE}`;
const BEARER =
  '  ok       registry    /v2/ asks for a token (401): Bearer, from http://127.0.0.1:PORT\n';
const CUT = `  skipped  quota       not reached
${CLOCK}  skipped  image       not reached
`;
const RENEW =
  'correct or renew upstreams.reg.example.credentials; check that the account is not locked and may pull library/app';

/** What it takes to show that an image can be pulled. */
const ASKED = [
  'GET /v2/',
  'HEAD /v2/library/app/manifests/latest',
  'GET /v2/library/app/manifests/<app>',
  'GET /v2/library/app/blobs/<app.config> bytes=0-0',
];

/** How the summary counts. */
function total(ok: number, warning: number, failed: number, skipped: number): string {
  return `\n1 upstream: ${ok} ok, ${warning} warning, ${failed} failed, ${skipped} skipped\n`;
}

test('an open registry is well', async (t) => {
  const registry = await startRegistry(t);
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] }), {
    code: 0,
    stdout: `${HTTP_HEAD}${OPEN}${total(7, 0, 0, 1)}`,
    stderr: '',
  });
  t.deepEqual(registry.conversation(), ASKED);
});

test('storage that the mirror may not dial is told with the key that allows it', async (t) => {
  const registry = await startRegistry(t);
  const location = 'http://169.254.10.10/blob?X-Signature=hunter2';
  registry.status(/\/blobs\//, 307, { headers: { Location: location } });
  const { code, stdout } = await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] });
  t.is(code, 1);
  t.true(
    stdout.includes(
      '  failed   image       reg.example/library/app:latest: a redirect to the internal address 169.254.10.10; if that is meant, list it in upstreams.reg.example.storage -> ',
    ),
    stdout,
  );
  t.false(stdout.includes('hunter2'));
});

test('--json is one document', async (t) => {
  const registry = await startRegistry(t);
  registry.status('/v2/', 404);
  const result = await runDoctor(t, { yaml: site(registry.url), args: ['--json'] });
  t.deepEqual([result.code, result.stderr], [1, '']);
  t.deepEqual(JSON.parse(result.stdout), {
    upstreams: [
      {
        name: 'reg.example',
        url: 'http://127.0.0.1:PORT',
        checks: [
          { check: 'name', state: 'ok', detail: '127.0.0.1 is an address' },
          { check: 'connection', state: 'ok', detail: '127.0.0.1:PORT in N ms' },
          { check: 'tls', state: 'skipped', detail: 'the url is http' },
          {
            check: 'registry',
            state: 'failed',
            detail: '127.0.0.1:PORT has no /v2/ (404)',
            advice:
              'check upstreams.reg.example.url: it is the address in front of /v2/, of a registry and not of its web pages',
          },
          { check: 'credential', state: 'skipped', detail: 'not reached' },
          { check: 'quota', state: 'skipped', detail: 'not reached' },
          { check: 'clock', state: 'ok', detail: "within 60 s of the registry's" },
          { check: 'image', state: 'skipped', detail: 'not reached' },
        ],
      },
    ],
    ok: false,
  });
});

test('offline dials nothing and is no failure', async (t) => {
  const registry = await startRegistry(t);
  const yaml = `offline: true\n${site(registry.url)}`;
  t.deepEqual(await runDoctor(t, { yaml, args: [IMAGE] }), {
    code: 0,
    stdout: `reg.example (http://127.0.0.1:PORT)
  skipped  offline     the configuration says offline: nothing is dialled
${total(0, 0, 0, 1)}`,
    stderr: '',
  });
  t.is(registry.connections, 0);
});

test('an image of no upstream is a usage error before anything is dialled', async (t) => {
  const registry = await startRegistry(t);
  const args = [IMAGE, 'nope.example/app'];
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url), args }), {
    code: 64,
    stdout: '',
    stderr:
      'entrepot: "nope.example" is not an upstream of this mirror, which has reg.example; add it under "upstreams" in the configuration file\n',
  });
  t.is(registry.connections, 0);
});

test('images are looked for at their upstreams, which come in the order of the file', async (t) => {
  const [hub, other] = [await startRegistry(t), await startRegistry(t)];
  const yaml = `upstreams:
  other.example: { url: "${other.url}" }
  docker.io: { url: "${hub.url}" }
`;
  const { digest } = buildImage({ seed: 'app', layers: [100] }).manifest;
  const args = ['app', `other.example/library/app:gone@${digest}`, 'other.example/app:v2'];
  const { code, stdout } = await runDoctor(t, { yaml, args });
  t.is(code, 1);
  t.deepEqual(
    stdout.split('\n').filter((line) => /^\S|image/.test(line)),
    [
      'other.example (http://127.0.0.1:PORT)',
      '  ok       image       other.example/library/app@DIGEST is there, DIGEST',
      '  failed   image       other.example/app:v2 does not exist there (404) -> check the name and the tag; some registries hide private images from those who may not pull them',
      'docker.io (http://127.0.0.1:PORT)',
      '  ok       image       docker.io/library/app:latest is there, DIGEST',
      '2 upstreams: 14 ok, 0 warning, 1 failed, 2 skipped',
    ],
  );
  t.deepEqual(hub.conversation(), ASKED);
});

test('without images Docker Hub is asked for alpine, and others get a hint', async (t) => {
  const [hub, other] = [await startRegistry(t), await startRegistry(t)];
  const yaml = `upstreams: { docker.io: { url: "${hub.url}" }, other.example: { url: "${other.url}" } }\n`;
  const { stdout } = await runDoctor(t, { yaml });
  const alpine = '/v2/library/alpine/manifests/latest';
  t.deepEqual(hub.conversation(), ['GET /v2/', `HEAD ${alpine}`, `GET ${alpine}`]);
  t.deepEqual(other.conversation(), ['GET /v2/']);
  t.deepEqual(
    stdout.split('\n').filter((line) => /quota|image/.test(line)),
    [
      '  ok       quota       anonymous: tells no limit',
      '  failed   image       docker.io/library/alpine:latest does not exist there (404) -> check the name and the tag; some registries hide private images from those who may not pull them',
      '  skipped  quota       told with images only -> name an image of this upstream on the command line',
      '  skipped  image       none named -> name an image of this upstream on the command line',
    ],
  );
});

test('a credential is taken by the token service, and the quota is told', async (t) => {
  const registry = await startRegistry(t, { auth: { kind: 'bearer', ...USER } });
  registry.rateLimit({ limit: 100, remaining: 76 });
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url, LOGIN), env: ENV, args: [IMAGE] }), {
    code: 0,
    stdout: `${HTTP_HEAD}${BEARER}  ok       credential  robot: accepted by the token service 127.0.0.1:PORT
  ok       quota       robot: 75 of 100 left in 6 h
${CLOCK}${THERE}${total(7, 0, 0, 1)}`,
    stderr: '',
  });
});

test('a quota with nothing left is a warning', async (t) => {
  const registry = await startRegistry(t);
  registry.rateLimit({ limit: 100, remaining: 0, window: 90 });
  const { code, stdout } = await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] });
  t.is(code, 0);
  t.is(
    stdout.split('\n').find((line) => line.includes('quota')),
    '  warning  quota       anonymous: nothing left of 100 in 90 s -> wait, or set upstreams.reg.example.credentials of an account with a higher limit',
  );
});

for (const [kind, said, registryLine] of [
  [
    'bearer',
    'the token service 127.0.0.1:PORT answered 401 to the configured credentials: UNAUTHORIZED: unauthorized',
    BEARER,
  ],
  [
    'basic',
    '127.0.0.1:PORT answered 401',
    '  ok       registry    /v2/ asks for a login (401): Basic\n',
  ],
] as const) {
  test(`a wrong password fails: ${kind}`, async (t) => {
    const registry = await startRegistry(t, { auth: { kind, ...USER } });
    const env = { PASSWORD: 'hunter3' };
    t.deepEqual(await runDoctor(t, { yaml: site(registry.url, LOGIN), env, args: [IMAGE] }), {
      code: 1,
      stdout: `${HTTP_HEAD}${registryLine}  failed   credential  robot: ${said} -> ${RENEW}
${CUT}${total(4, 0, 1, 3)}`,
      stderr: '',
    });
    t.false(registry.conversation().some((line) => line.startsWith('HEAD')));
  });
}

test('Basic takes the right password', async (t) => {
  const registry = await startRegistry(t, { auth: { kind: 'basic', ...USER } });
  const input = { yaml: site(registry.url, LOGIN), env: ENV, args: [IMAGE] };
  const { code, stdout } = await runDoctor(t, input);
  t.is(code, 0);
  t.true(stdout.includes('  ok       credential  robot: accepted by 127.0.0.1:PORT\n'));
  t.true(stdout.includes(THERE));
});

test('Basic without a credential fails', async (t) => {
  const registry = await startRegistry(t, { auth: { kind: 'basic', ...USER } });
  const { code, stdout } = await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] });
  t.is(code, 1);
  t.true(
    stdout.includes(
      '  failed   credential  anonymous: asks for a login and no credentials are configured -> set upstreams.reg.example.credentials\n',
    ),
  );
});

test('an anonymous token may not reach the image', async (t) => {
  const registry = await startRegistry(t, { auth: { kind: 'bearer', ...USER } });
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] }), {
    code: 1,
    stdout: `${HTTP_HEAD}${BEARER}  ok       credential  anonymous: accepted by the token service 127.0.0.1:PORT
  ok       quota       anonymous: tells no limit
${CLOCK}  failed   image       ${IMAGE}: 127.0.0.1:PORT refused access anonymously (401): UNAUTHORIZED: unauthorized -> check the name, and set upstreams.reg.example.credentials if library/app is private
${total(6, 0, 1, 1)}`,
    stderr: '',
  });
});

test('a token realm of another host is refused and gets nothing', async (t) => {
  const realm = 'https://tokens.example/token?secret=hunter2';
  const registry = await startRegistry(t, { auth: { kind: 'bearer', ...USER, realm } });
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url, LOGIN), env: ENV, args: [IMAGE] }), {
    code: 1,
    stdout: `${HTTP_HEAD}  failed   registry    token realm tokens.example does not belong to 127.0.0.1:PORT: credentials are not sent there; if that is meant, list it in upstreams.reg.example.realms -> check that upstreams.reg.example.url is the registry itself; if it is, correct the realm in its configuration
  skipped  credential  not reached
${CUT}${total(3, 0, 1, 4)}`,
    stderr: '',
  });
});

for (const [title, meet, line] of [
  [
    'a page in place of a registry',
    (registry: FakeRegistry) =>
      registry.status('/v2/', 200, { body: '<h1>hunter2</h1>', contentType: 'text/html' }),
    'failed   registry    127.0.0.1:PORT sent an HTML page -> check upstreams.reg.example.url; a portal or proxy on the way may answer in place of the registry',
  ],
  [
    'a registry that fails',
    (registry: FakeRegistry) => registry.status('/v2/', 503, { body: 'hunter2' }),
    'failed   registry    127.0.0.1:PORT answered 503 -> try later, and ask the operator of 127.0.0.1:PORT',
  ],
  [
    'a registry that shuts this address out',
    (registry: FakeRegistry) => registry.status('/v2/', 403, { body: 'hunter2' }),
    'failed   registry    127.0.0.1:PORT denied access to /v2/ (403) -> have the address of this machine admitted by 127.0.0.1:PORT, or allow it in the firewall on the way',
  ],
  [
    'a login that nobody can give',
    (registry: FakeRegistry) =>
      registry.status('/v2/', 401, { headers: { 'WWW-Authenticate': 'Negotiate' } }),
    'failed   registry    /v2/ asks for a login (401) by negotiate -> have the registry offer Bearer or Basic; a proxy in front of it may hide its WWW-Authenticate header',
  ],
  [
    'a rate limit',
    (registry: FakeRegistry) => registry.status('/v2/', 429, { body: 'hunter2' }),
    'warning  registry    127.0.0.1:PORT limits the rate of requests (429) -> wait, and set upstreams.reg.example.credentials of an account with a higher limit',
  ],
  [
    'a redirect to a portal',
    (registry: FakeRegistry) =>
      registry.status('/v2/', 302, {
        headers: { Location: 'https://portal.example/login?token=hunter2' },
      }),
    'warning  registry    /v2/ is answered with a redirect to https://portal.example -> if pulls fail, set upstreams.reg.example.url to the registry itself, or sign this machine in at the portal that redirects it',
  ],
] as const) {
  test(`/v2/ shows ${title}`, async (t) => {
    const registry = await startRegistry(t);
    meet(registry);
    const { code, stdout, stderr } = await runDoctor(t, { yaml: site(registry.url) });
    t.deepEqual(
      stdout.split('\n').filter((text) => text.includes(' registry ')),
      [`  ${line}`],
    );
    t.is(code, line.startsWith('failed') ? 1 : 0);
    t.false(`${stdout}${stderr}`.includes('hunter2'));
    t.deepEqual(registry.conversation(), ['GET /v2/']);
  });
}

for (const [minutes, code, line] of [
  [-10, 0, 'warning  clock       this machine is 10 min ahead of the registry'],
  [10, 0, 'warning  clock       this machine is 10 min behind the registry'],
  [240, 1, 'failed   clock       this machine is 4 h behind the registry'],
] as const) {
  test(`a registry whose clock is ${minutes} minutes ahead`, async (t) => {
    const registry = await startRegistry(t);
    const date = new Date(Date.now() + minutes * 60_000).toUTCString();
    registry.status('/v2/', 200, { headers: { Date: date }, body: '{}' });
    const result = await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] });
    t.deepEqual(
      result.stdout.split('\n').filter((text) => text.includes(' clock ')),
      [
        `  ${line} -> set the clock (NTP): tokens and certificates are refused by the date; check it with timedatectl`,
      ],
    );
    t.is(result.code, code);
  });
}

test('a date that a cache kept for an hour is no skew', async (t) => {
  const registry = await startRegistry(t);
  const date = new Date(Date.now() - 3_600_000).toUTCString();
  registry.status('/v2/', 200, { headers: { Date: date, Age: '3600' }, body: '{}' });
  const { stdout } = await runDoctor(t, { yaml: site(registry.url) });
  t.true(stdout.includes(CLOCK));
});

test('a port that nobody listens at', async (t) => {
  const registry = await startRegistry(t);
  await registry.refuse();
  t.deepEqual(await runDoctor(t, { yaml: site(registry.url), args: [IMAGE] }), {
    code: 1,
    stdout: `reg.example (http://127.0.0.1:PORT)
  ok       name        127.0.0.1 is an address
  failed   connection  127.0.0.1:PORT refuses the connection (ECONNREFUSED) -> check the port in upstreams.reg.example.url, that the server runs, and that no firewall rejects port PORT to 127.0.0.1
  skipped  tls         not reached
${NO_ANSWER}${total(1, 0, 1, 6)}`,
    stderr: '',
  });
});

test('a name that does not resolve', async (t) => {
  const { code, stdout } = await runDoctor(t, { yaml: site('http://gone.invalid:5000') });
  t.is(code, 1);
  t.is(
    stdout.replace(/ENOTFOUND|EAI_AGAIN/, 'CODE'),
    `reg.example (http://gone.invalid:5000)
  failed   name        gone.invalid has no address (CODE) -> check the spelling in upstreams.reg.example.url and the DNS servers of this machine; ask them with: getent hosts gone.invalid
  skipped  connection  not reached
  skipped  tls         not reached
${NO_ANSWER}${total(0, 0, 1, 7)}`,
  );
});

test('a few upstreams are examined at a time, and all are', async (t) => {
  const registry = await startRegistry(t);
  const gate = registry.hold('/v2/', { before: 'headers', times: Infinity });
  const names = ['f', 'e', 'd', 'c', 'b', 'a'].map((name) => `${name}.example`);
  const entries = names.map((name) => `  ${name}: { url: "${registry.url}" }\n`).join('');
  const result = runDoctor(t, {
    yaml: `upstreams:\n${entries}defaultUpstream: a.example\n`,
  });
  await gate.arrived(4);
  // What was dialled at once with the four has come before what is dialled now.
  await get(`${registry.url}/dialled/later`);
  t.is(gate.waiting, 4);
  t.is(registry.requests.length, 5);
  gate.open();
  const { code, stdout } = await result;
  t.is(code, 0);
  t.deepEqual(stdout.match(/^.\.example/gm), names);
});

/** Limits that nothing reaches by itself, and a time for all checks that a test ends. */
function createDeadline() {
  const timers: { expire: () => void; ms: number }[] = [];
  const stopped: number[] = [];
  const checkup: CheckupOptions = {
    timing: { ...TEST_TIMING, connectMs: 60_000, headersMs: 60_000 },
    startTimer: (expire, ms) => {
      timers.push({ expire, ms });
      return () => void stopped.push(ms);
    },
  };
  return { checkup, stopped, expire: () => timers.forEach((timer) => timer.expire()) };
}

test('a registry that hangs takes no more than the time for all checks', async (t) => {
  const registry = await startRegistry(t);
  registry.hang('/v2/');
  const { checkup, stopped, expire } = createDeadline();
  const result = runDoctor(t, { yaml: site(registry.url), checkup });
  await registry.seen('/v2/');
  expire();
  t.deepEqual(await result, {
    code: 1,
    stdout: `${HTTP_HEAD}  failed   registry    no answer within the 15 s that all checks have -> look for a firewall that drops packets on the way, and try again
  skipped  credential  not reached
  skipped  quota       not reached
  skipped  clock       no answer to compare with
  skipped  image       not reached
${total(2, 0, 1, 5)}`,
    stderr: '',
  });
  t.deepEqual(stopped, [15_000]);
});

test('an image that hangs leaves the rest as it was found', async (t) => {
  const registry = await startRegistry(t);
  registry.hang(/manifests/);
  const { checkup, expire } = createDeadline();
  const args = [IMAGE, 'reg.example/library/app:v2'];
  const result = runDoctor(t, { yaml: site(registry.url), args, checkup });
  await registry.seen(/manifests/);
  expire();
  const { code, stdout } = await result;
  t.is(code, 1);
  t.deepEqual(
    stdout.split('\n').filter((text) => / (registry|clock|image) /.test(text)),
    [
      '  ok       registry    /v2/ asks for no login (200)',
      CLOCK.trimEnd(),
      '  failed   image       no answer within the 15 s that all checks have -> look for a firewall that drops packets on the way, and try again',
      '  skipped  image       no time left',
    ],
  );
  t.is(registry.requests.length, 2);
});

// TLS

function tlsTest(
  title: string,
  run: (t: ExecutionContext, found: Awaited<typeof creating>) => Promise<void>,
): void {
  test(title, async (t) => run(t, await creating));
}

const SET_CA =
  'set upstreams.reg.example.tls.ca to the PEM file of your authority, or of the firewall that opens TLS on the way';
const UNKNOWN = 'unknown authority "test authority" (UNABLE_TO_VERIFY_LEAF_SIGNATURE)';
const EXPIRED =
  'the certificate of 127.0.0.1, or one above it, has expired (its own end: DAY) -> renew it; if it was renewed, set the clock of this machine (NTP)';
const FOREIGN =
  'the certificate is not for 127.0.0.1 but for DNS:other.example -> use one of these names in upstreams.reg.example.url, or have a certificate issued for 127.0.0.1';
const TRUSTED = 'tls: { ca: ca.pem }';

for (const [certificate, keys, line] of [
  [
    'lasting',
    TRUSTED,
    'ok       tls         certificate of "test authority", 89 days left; trusted are the public authorities, those of the system, those of tls.ca',
  ],
  [
    'ending',
    TRUSTED,
    'warning  tls         certificate of "test authority", 4 days left; trusted are the public authorities, those of the system, those of tls.ca -> renew the certificate of 127.0.0.1 before DAY',
  ],
  ['expired', TRUSTED, `failed   tls         ${EXPIRED}`],
  ['foreign', TRUSTED, `failed   tls         ${FOREIGN}`],
  ['lasting', '', `failed   tls         ${UNKNOWN} -> ${SET_CA}`],
  [
    'lasting',
    'tls: { insecure: true }',
    `warning  tls         not checked, and not valid: ${UNKNOWN} -> ${SET_CA}, then remove upstreams.reg.example.tls.insecure`,
  ],
  [
    'lasting',
    'tls: { ca: ca.pem, insecure: true }',
    'warning  tls         not checked, although valid -> remove upstreams.reg.example.tls.insecure',
  ],
] as const) {
  tlsTest(`a certificate: ${certificate}, with ${keys || 'no settings'}`, async (t, found) => {
    const registry = await startRegistry(t, { tls: found.issued[certificate] });
    const input = {
      yaml: site(registry.url, keys),
      files: { 'ca.pem': found.ca.toString() },
      args: [IMAGE],
    };
    const [state] = line.split(' ');
    const [isFailed, isOk] = [state === 'failed', state === 'ok'];
    const counts = isFailed ? total(2, 0, 1, 5) : isOk ? total(8, 0, 0, 0) : total(7, 1, 0, 0);
    t.deepEqual(await runDoctor(t, input), {
      code: isFailed ? 1 : 0,
      stdout: `${HTTPS_HEAD}  ${line}\n${isFailed ? NO_ANSWER : OPEN}${counts}`,
      stderr: '',
    });
    if (isFailed) t.deepEqual(registry.conversation(), []);
  });
}

tlsTest('a registry that wants a client certificate', async (t, found) => {
  const tls = { ...found.issued.lasting, ca: found.ca, requestClientCert: true };
  const registry = await startRegistry(t, { tls });
  const files = { 'ca.pem': found.ca.toString() };
  const { code, stdout } = await runDoctor(t, { yaml: site(registry.url, TRUSTED), files });
  t.is(code, 1);
  t.true(
    stdout.includes(
      '  failed   registry    no connection to 127.0.0.1:PORT (UND_ERR_SOCKET) -> if the registry asks for a client certificate, set upstreams.reg.example.tls.cert and tls.key; else look for a proxy or firewall on the way that cuts connections\n',
    ),
  );
});

tlsTest('http to a port that speaks TLS', async (t, found) => {
  const registry = await startRegistry(t, { tls: found.issued.lasting });
  const { stdout } = await runDoctor(t, { yaml: site(registry.url.replace('https:', 'http:')) });
  t.true(
    stdout.includes(
      ' -> if the registry speaks TLS, write upstreams.reg.example.url with https://; else look for a proxy or firewall on the way that cuts connections\n',
    ),
  );
});

test('https to a port that speaks http', async (t) => {
  const registry = await startRegistry(t);
  const { stdout } = await runDoctor(t, { yaml: site(registry.url.replace('http:', 'https:')) });
  t.is(
    stdout,
    `${HTTPS_HEAD}  failed   tls         127.0.0.1:PORT does not speak TLS (ERR_SSL_WRONG_VERSION_NUMBER) -> check the port; if it is an http registry, write upstreams.reg.example.url with http://
${NO_ANSWER}${total(2, 0, 1, 5)}`,
  );
});

// A proxy on the way

tlsTest('through a proxy everything is examined, and nothing goes past it', async (t, found) => {
  const proxy = await startProxy(t);
  const registry = await startRegistry(t, { tls: found.issued.lasting });
  const yaml = site(registry.url, `proxy: ${proxy.url}\n    ${TRUSTED}`);
  t.deepEqual(
    await runDoctor(t, { yaml, files: { 'ca.pem': found.ca.toString() }, args: [IMAGE] }),
    {
      code: 0,
      stdout: `reg.example (https://127.0.0.1:PORT)
  ok       name        the proxy 127.0.0.1 is an address
  ok       connection  the proxy 127.0.0.1:PORT connects to 127.0.0.1:PORT in N ms
  ok       tls         certificate of "test authority", 89 days left; trusted are the public authorities, those of the system, those of tls.ca
${OPEN}${total(8, 0, 0, 0)}`,
      stderr: '',
    },
  );
  t.deepEqual([...new Set(proxy.lines)], [`CONNECT ${registry.host}`]);
  t.is(registry.connections, proxy.lines.length);
});

for (const [status, advice] of [
  [403, 'allow CONNECT to 127.0.0.1:PORT in the proxy'],
  [407, 'set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT with a login of the proxy'],
] as const) {
  test(`a proxy that answers ${status}`, async (t) => {
    const proxy = await startProxy(t, { lead: () => status });
    const registry = await startRegistry(t);
    const url = registry.url.replace('http:', 'https:');
    t.deepEqual(await runDoctor(t, { yaml: site(url, `proxy: ${proxy.url}`) }), {
      code: 1,
      stdout: `reg.example (https://127.0.0.1:PORT)
  ok       name        the proxy 127.0.0.1 is an address
  failed   connection  the proxy 127.0.0.1:PORT refused CONNECT 127.0.0.1:PORT (${status}) -> ${advice}
  skipped  tls         not reached
${NO_ANSWER}${total(1, 0, 1, 6)}`,
      stderr: '',
    });
    t.is(registry.connections, 0);
  });
}

test('a proxy of the environment is told without its password', async (t) => {
  const gone = await startRegistry(t);
  await gone.refuse();
  const env = { HTTPS_PROXY: gone.url.replace('://', '://me:hunter2@') };
  const { code, stdout, stderr } = await runDoctor(t, { yaml: site('https://reg.example'), env });
  t.is(code, 1);
  t.true(stdout.includes('  failed   connection  the proxy 127.0.0.1:PORT refuses the connection'));
  t.false(`${stdout}${stderr}`.includes('hunter2'));
});
