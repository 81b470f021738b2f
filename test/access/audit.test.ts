/** `log.audit`: who pulled, was refused, logged in and changed what, a line of JSON each. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { request } from 'node:http';
import { lineForPeople } from '../../src/observe/line-for-people.ts';
import { get, rawRequest } from '../helpers/client.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { createTempFolder, startMirror, type MirrorOptions } from '../helpers/mirror.ts';
import { Scrape } from '../helpers/scrape.ts';
import { until } from '../helpers/until.ts';
import { basic, form, HUB, OPEN, PRIVATE, startGuardedScene, writeUsers } from './guarded-scene.ts';

type Line = Readonly<Record<string, unknown>>;

async function start(t: ExecutionContext, options: Pick<MirrorOptions, 'trustProxy'> = {}) {
  const path = join(await createTempFolder(t), 'audit.log');
  const scene = await startGuardedScene(t, { ...options, log: { audit: path } });
  const text = (): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  const lines = (): Line[] =>
    text()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
  /** What is the same in each run, of the lines once there are so many. */
  const told = async (count: number): Promise<Line[]> => {
    const all = await until(`${count} lines`, () => lines().length >= count && lines());
    return all.map((line) => omit(line, ['time', 'id', 'agent', 'client']));
  };
  return { ...scene, path, text, lines, told };
}

function omit(line: Line, names: readonly string[]): Line {
  return Object.fromEntries(Object.entries(line).filter(([name]) => !names.includes(name)));
}

const LIST = '/v2/org/private/tags/list';
const PULL = '/v2/org/private/manifests/v1';

test('each pull, refusal and login is a line with who asked, and why it was refused', async (t) => {
  const { ask, told, path, lines } = await start(t);
  const digest = PRIVATE.manifest.digest;
  await ask('/v2/');
  await ask('/v2/library/open/manifests/v1');
  await ask(PULL);
  await ask(PULL, { headers: basic('alice', 'wrong') });
  await ask(PULL, { headers: basic('bob', 'bob') });
  await ask(PULL, { headers: basic('alice', 'wonder') });
  await ask(LIST, { headers: basic('alice', 'wonder') });
  await ask('/token?service=x', { headers: basic('alice', 'wonder') });
  await ask('/token?service=x', { headers: basic('nobody', 'hunter2') });
  await ask('/v2/', { headers: basic('alice', 'wonder') });
  const pull = { event: 'pull', door: 'public', method: 'GET', kind: 'manifest' };
  const image = { target: `${HUB}/org/private`, upstream: HUB, reference: 'v1' };
  const refused = { ...pull, ...image, bytes: 0 };
  const login = { event: 'login', door: 'public', method: 'GET', kind: 'token', bytes: 0 };
  t.deepEqual(await told(10), [
    {
      ...pull,
      subject: 'anonymous',
      target: `${HUB}/library/open`,
      upstream: HUB,
      reference: 'v1',
      status: 200,
      bytes: OPEN.manifest.bytes.length,
      digest: OPEN.manifest.digest,
    },
    { ...refused, subject: 'anonymous', denied: 'anonymous', status: 401 },
    { event: 'login', account: 'alice', denied: 'credentials' },
    { ...refused, subject: 'anonymous', denied: 'credentials', foreign: true, status: 401 },
    { ...refused, subject: 'user:bob', denied: 'rule', status: 404 },
    {
      ...refused,
      subject: 'user:alice',
      status: 200,
      bytes: PRIVATE.manifest.bytes.length,
      digest,
    },
    {
      ...pull,
      event: 'list',
      kind: 'tags',
      target: `${HUB}/org/private`,
      upstream: HUB,
      reference: 'list',
      subject: 'user:alice',
      status: 200,
      bytes: 36,
    },
    { ...login, subject: 'user:alice', status: 200 },
    { ...login, subject: 'anonymous', denied: 'credentials', foreign: true, status: 401 },
    { ...login, kind: 'ping', subject: 'user:alice', status: 200 },
  ]);
  t.is(statSync(path).mode & 0o777, 0o600);
  for (const { time, client } of lines()) {
    t.regex(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    t.is(client, '127.0.0.1');
  }
});

test('each write at the admin door is told with its subject, also those that are refused', async (t) => {
  const { admin, mirror, told } = await start(t);
  const body = JSON.stringify({ name: 'ci', owner: 'alice', expires: '90d' });
  const headers = basic('ops', 'ops');
  const made = await admin('/api/v1/tokens', { method: 'POST', headers, body });
  const { id, secret } = JSON.parse(String(made.body)) as { id: string; secret: string };
  const pins = '/api/v1/pins';
  const pin = { method: 'POST', body: JSON.stringify({ image: `${HUB}/library/open:v1` }) };
  await admin(pins, pin);
  await admin(pins, { ...pin, headers: basic('bob', 'bob') });
  await admin(pins, { ...pin, headers: basic('ops', 'wrong') });
  await admin(pins, { ...pin, headers: { authorization: `Bearer ${secret}` } });
  await admin(pins, { ...pin, headers: { host: 'rebound.example', ...headers } });
  await admin('/api/v1/status');
  await admin('/api/v1/status', { headers });
  await overSocket(join(mirror.storePath, 'admin.sock'), '/api/v1/gc');
  await admin(`/api/v1/tokens/${id}`, { method: 'DELETE', headers });
  const change = { event: 'change', door: 'admin', method: 'POST', path: pins };
  const tokens = { ...change, path: '/api/v1/tokens', subject: 'user:ops' };
  t.deepEqual(await told(10), [
    { ...tokens, status: 201, input: JSON.parse(body) as object, madeId: id },
    { ...change, subject: 'anonymous', denied: 'anonymous', status: 401 },
    { ...change, subject: 'user:bob', denied: 'rule', status: 403 },
    { event: 'login', account: 'ops', denied: 'credentials' },
    { ...change, subject: 'anonymous', denied: 'credentials', status: 401 },
    { ...change, subject: 'token:ci', tokenId: id, denied: 'rule', status: 403 },
    { ...change, subject: 'anonymous', denied: 'host', status: 403 },
    {
      event: 'read',
      door: 'admin',
      method: 'GET',
      path: '/api/v1/status',
      subject: 'anonymous',
      denied: 'anonymous',
      status: 401,
    },
    { ...change, path: '/api/v1/gc', subject: 'socket', status: 200 },
    { ...tokens, method: 'DELETE', path: `/api/v1/tokens/${id}`, status: 204 },
  ]);
  const writes = mirror.log.filter(({ msg }) => msg === 'admin write');
  t.deepEqual(
    writes.map(({ subject }) => subject),
    [
      'user:ops',
      'anonymous',
      'user:bob',
      'anonymous',
      'token:ci',
      'anonymous',
      'socket',
      'user:ops',
    ],
  );
});

async function overSocket(socketPath: string, path: string): Promise<void> {
  const headers = { 'content-type': 'application/json' };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  request({ socketPath, path, method: 'POST', headers }, (answer) => {
    answer.resume().once('end', resolve);
  })
    .once('error', reject)
    .end();
  await promise;
}

test('no name that anybody makes up is more than one value of one line', async (t) => {
  const scene = await start(t, { trustProxy: ['127.0.0.1'] });
  const { ask, admin, mirror, htpasswd, text, lines, path } = scene;
  const evil = '\u009b31m\u001b[2J","subject":"user:ops"}\r\n{"event":"change"  subject=user:ops';
  const names = [`"},{"x":"`, 'n'.repeat(128)];
  const users = Object.fromEntries(names.map((name) => [name, 'evil']));
  writeUsers(htpasswd, { ops: 'ops', ...users });
  for (const user of [...names, evil]) {
    await ask(PULL, { headers: basic(user, 'evil') });
    await ask(PULL, { headers: basic(user, 'wrong') });
    await ask('/token', form({ grant_type: 'password', username: user, password: evil }));
  }
  const encoded = encodeURIComponent(evil);
  await ask(`/v2/${encoded}/manifests/v1`);
  await ask(`/v2/library/open/manifests/${encoded}`);
  await ask(`/v2/library/open/manifests/v1?ns=${encoded}`);
  await ask(`/token?service=${encoded}&scope=${encoded}`);
  const { host, port } = new URL(mirror.url);
  for (const header of ['User-Agent', 'X-Request-Id', 'X-Forwarded-For', 'X-Forwarded-Host']) {
    const value = `\u009b31m{"subject":"user:ops"} ${'x'.repeat(5000)}`;
    const head = `GET ${PULL} HTTP/1.1\r\nHost: ${host}\r\n${header}: ${value}\r\n`;
    await rawRequest(Number(port), Buffer.from(`${head}Connection: close\r\n\r\n`, 'latin1'));
  }
  const headers = basic('ops', 'ops');
  for (const owner of [evil, 'x'.repeat(129), '\u202eresu']) {
    const body = JSON.stringify({ name: 'ci', owner });
    t.is((await admin('/api/v1/tokens', { method: 'POST', headers, body })).status, 400);
  }
  const pin = JSON.stringify({ image: evil, reason: evil.repeat(100) });
  await admin(`/api/v1/pins`, { method: 'POST', headers, body: pin });
  await admin(`/api/v1/in-use/${encoded}`, { method: 'PUT', headers, body: '{"images":[]}' });
  await until('the last line', () => lines().some(({ method }) => method === 'PUT'));
  const all = [...lines(), ...mirror.log];
  t.true(existsSync(path) && all.length > 30);
  // Each is one line, in which nothing is obeyed, and nobody became somebody else.
  t.notRegex(text().replaceAll('\n', ''), /[^ -~]/);
  for (const line of all) {
    const shown = lineForPeople({ ...line, err: undefined }, false);
    t.notRegex(shown, /[\p{Cc}\u202e]/u);
    t.true(shown.length < 4_000, shown);
    if (line['subject'] === 'user:ops') t.true(String(line['path']).startsWith('/api/v1/'));
    t.false('x' in line);
  }
  t.true(text().length / lines().length < 2_000);
});

test('a line is short however much was asked for, so that nobody crowds out the lines of others', async (t) => {
  const { ask, admin, text, lines, mirror } = await start(t);
  const long = '%01'.repeat(20_000);
  for (const kind of ['manifests', 'blobs', 'referrers']) {
    for (const name of ['library/open', 'org/private']) await ask(`/v2/${name}/${kind}/${long}`);
  }
  const headers = basic('ops', 'ops');
  const wide = Array.from({ length: 10 }, () => Array.from({ length: 10 }, () => 'x'.repeat(300)));
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  for (const image of [JSON.stringify(wide), deep]) {
    const { status } = await admin('/api/v1/pins', {
      method: 'POST',
      headers,
      body: `{"image":${image}}`,
    });
    t.is(status, 400);
  }
  await until('all lines', () => lines().length === 8);
  for (const line of [...text().split('\n'), ...mirror.log.map((each) => JSON.stringify(each))]) {
    t.true(line.length < 4_000, line.slice(0, 500));
  }
});

test('a file that was moved away gives way to a new one', async (t) => {
  const { ask, path, told } = await start(t);
  await ask('/v2/library/open/manifests/v1');
  await told(1);
  renameSync(path, `${path}.1`);
  await ask(PULL);
  const [only, ...others] = await told(1);
  t.deepEqual([only?.['denied'], others], ['anonymous', []]);
  t.is(readFileSync(`${path}.1`, 'utf8').split('\n').length, 2);
});

test('a file that cannot be written stops no pull: it is told once, and what is lost is counted', async (t) => {
  const { ask, mirror, path, told, admin } = await start(t);
  await ask('/v2/library/open/manifests/v1');
  await told(1);
  renameSync(path, `${path}.1`);
  mkdirSync(path);
  const headers = basic('ops', 'ops');
  const lost = async (): Promise<number | undefined> =>
    new Scrape(String((await admin('/metrics', { headers })).body)).find('audit_lines_lost_total');
  for (let pulls = 1; pulls <= 3; pulls += 1) {
    t.is((await ask('/v2/library/open/manifests/v1')).status, 200);
    await until('it is lost', async () => (await lost()) === pulls);
  }
  const failures = mirror.log.filter(({ msg }) => msg === 'the audit cannot be written');
  t.deepEqual(
    failures.map(({ reason, file }) => [reason, file]),
    [['EISDIR', path]],
  );
  rmdirSync(path);
  await ask(PULL);
  await told(1);
  await mirror.logged('the audit is written again');
});

test('also without rules; another file counts from a reload on, and none where it is left out', async (t) => {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/open', 'v1', OPEN);
  const folder = await createTempFolder(t);
  const options = { upstreams: { [HUB]: { url: registry.url } } };
  const file = (name: string) => join(folder, name);
  const lines = (name: string): number =>
    existsSync(file(name)) ? readFileSync(file(name), 'utf8').split('\n').length - 1 : -1;
  const mirror = await startMirror(t, { ...options, log: { audit: file('a') } });
  const pull = async () => get(`${mirror.url}/v2/library/open/manifests/v1`);
  await pull();
  await until('a line', () => lines('a') === 1);
  const changed = await mirror.reload({ ...options, log: { audit: file('b') } });
  t.deepEqual(changed.body.changed, ['log.audit']);
  await pull();
  // The reload is a change, too.
  await until('two lines', () => lines('b') === 2);
  await mirror.reload(options);
  await pull();
  await mirror.stop();
  t.deepEqual([lines('a'), lines('b')], [1, 2]);
  const [change] = readFileSync(file('b'), 'utf8').split('\n');
  t.like(JSON.parse(change ?? ''), {
    event: 'change',
    subject: 'anonymous',
    path: '/api/v1/reload',
  });
});
