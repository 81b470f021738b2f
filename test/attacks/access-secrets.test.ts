/**
 * What clients show where rules are set, and what the mirror itself keeps: no log, audit, answer, metric, span, command
 * or file of the store shows any of it in any form, and no upstream is sent what is not for it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { lineForPeople } from '../../src/observe/line-for-people.ts';
import { jwksOf, serviceAccount, SigningKey } from '../access/fake-issuer.ts';
import { basic, form, writeUsers } from '../access/guarded-scene.ts';
import { writeJwks } from '../access/private-mirror.ts';
import { runStoreCommand } from '../cli/run-store-command.ts';
import { get, rawRequest, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { FakeCollector } from '../helpers/fake-collector.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';

const HUB = 'hub.example';
const OTHER = 'other.example';
const CLUSTER = 'https://kubernetes.default.svc';
const NAMES =
  'account alice ops guess unknown foreign google bearer long raw refresh password query userinfo cookie proxy agent header admin'.split(
    ' ',
  );

/** By what it is; what is made on the way comes to these. */
function openBook() {
  const secrets = new Map<string, string>();
  const word = (name: string): string => `hunter2-${name}-0123456789`;
  for (const name of NAMES) secrets.set(name, word(name));
  return {
    word,
    add: (name: string, secret: string) => void secrets.set(name, secret),
    /** The names of the secrets that a text shows in any form. */
    shownIn: (text: string): string[] => {
      const lower = text.toLowerCase();
      const names = [...secrets].filter(([, secret]) =>
        formsOf(secret).some((shape) => lower.includes(shape.toLowerCase())),
      );
      return names.map(([name]) => name);
    },
  };
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  // In a larger text it may begin at any bit of a letter; what its neighbours share is left out.
  const inBase64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
      .slice(4, -2),
  );
  const percent = [...bytes].map((byte) => `%${byte.toString(16)}`).join('');
  const url = inBase64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [secret, bytes.toString('hex'), percent, ...inBase64, ...url];
}

test('the forms of a secret are found', (t) => {
  const { word, shownIn } = openBook();
  const secret = word('alice');
  const texts = [
    secret,
    basic('alice', secret).authorization,
    Buffer.from(JSON.stringify({ a: secret })).toString('base64url'),
    Buffer.from(`xx${secret}`).toString('base64'),
    Buffer.from(secret).toString('hex').toUpperCase(),
  ];
  for (const text of texts) t.deepEqual(shownIn(`.. ${text} ..`), ['alice'], text);
  t.deepEqual(shownIn('user:alice of hub.example'), []);
});

type Book = ReturnType<typeof openBook>;

async function start(t: ExecutionContext, book: Book) {
  const { word } = book;
  const collector = await FakeCollector.start(t);
  const password = word('account');
  const hub = await FakeRegistry.start(t, {
    auth: { kind: 'bearer', username: 'robot', password },
  });
  const other = await FakeRegistry.start(t);
  for (const registry of [hub, other]) {
    // Each foreign secret has an open image that nobody pulled before.
    const open = foreignOf(book).map((_, at) => `library/open-${at}`);
    for (const name of ['org/private', ...open]) {
      registry.addImage(name, 'v1', buildImage({ seed: name, layers: [1000] }));
    }
  }
  const folder = await createTempFolder(t);
  const htpasswd = join(folder, 'htpasswd');
  const audit = join(folder, 'audit.log');
  writeUsers(htpasswd, { alice: word('alice'), ops: word('ops') });
  const cluster = new SigningKey();
  const jwks = await writeJwks(t, jwksOf(cluster));
  const mirror = await startMirror(t, {
    upstreams: {
      [HUB]: { url: hub.url, credentials: { username: 'robot', password } },
      [OTHER]: { url: other.url },
    },
    trustProxy: ['127.0.0.1'],
    tracing: { otlp: collector.url },
    log: { audit },
    access: {
      token: { ttl: 300_000 },
      htpasswd: { file: htpasswd },
      kubernetes: [{ name: 'prod', issuer: CLUSTER, audience: 'entrepot', jwks }],
      rules: [
        { who: ['anonymous'], may: ['pull'], images: ['*/library/**'] },
        {
          who: ['user:alice', 'token:ci', 'k8s:prod:*:*'],
          may: ['pull', 'list'],
          images: ['*/org/**'],
        },
        { who: ['user:ops'], may: ['admin'] },
      ],
    },
  });
  const answers: ClientAnswer[] = [];
  const ask = async (path: string, options: GetOptions = {}): Promise<ClientAnswer> => {
    const answer = await get(`${mirror.url}${path}`, {
      ...options,
      headers: { accept: '*/*', ...options.headers },
    });
    answers.push(answer);
    return answer;
  };
  const admin = async (path: string, options: GetOptions = {}): Promise<ClientAnswer> => {
    const answer = await get(`${mirror.server.adminUrl}${path}`, {
      ...options,
      headers: { 'content-type': 'application/json', ...options.headers },
    });
    answers.push(answer);
    return answer;
  };
  return { cluster, collector, hub, other, mirror, answers, ask, admin, audit, htpasswd };
}

type Scene = Awaited<ReturnType<typeof start>>;
type Shown = Readonly<Record<string, string>>;

const MANIFEST = 'manifests/v1';
const SCOPE = 'scope=repository:library/open:pull';

/** What is shown and is nothing here, as clients send it. */
function foreignOf({ word }: Book): Shown[] {
  const google = {
    type: 'service_account',
    private_key: `-----BEGIN PRIVATE KEY-----\n${word('google')}\n-----END PRIVATE KEY-----\n`,
    client_email: 'robot@project.example',
  };
  return [
    basic('hub-user', `dckr_pat_${word('foreign')}`),
    basic('alice', word('guess')),
    basic('_json_key', JSON.stringify(google)),
    basic('_json_key_base64', Buffer.from(JSON.stringify(google)).toString('base64')),
    basic('oauth2accesstoken', word('unknown')),
    basic('_json_key', JSON.stringify({ type: 'entrepot_key', secret: word('unknown') })),
    { authorization: `Bearer ${word('bearer')}` },
    { authorization: `Bearer ${'x'.repeat(20_000)}${word('long')}` },
    { authorization: word('raw') },
    { cookie: `session=${word('cookie')}`, 'proxy-authorization': `Basic ${word('proxy')}` },
    { 'x-registry-auth': word('header'), 'x-forwarded-for': word('header') },
    { 'user-agent': `tool/1 (https://me:${word('agent')}@host.example)` },
  ];
}

/** A pull secret of somewhere else says nothing here: the pull goes on, and what is not open stays closed. */
async function showForeign(t: ExecutionContext, { ask }: Scene, book: Book): Promise<void> {
  for (const state of ['cold', 'held']) {
    for (const [at, headers] of foreignOf(book).entries()) {
      for (const upstream of [HUB, OTHER]) {
        const told = `${state}: ${at} at ${upstream}`;
        const name = `library/open-${at}`;
        const open = await ask(`/v2/${upstream}/${name}/${MANIFEST}`, { headers });
        t.is(open.status, 200, told);
        const { layers = [] } = JSON.parse(String(open.body)) as { layers?: { digest: string }[] };
        for (const { digest } of layers) {
          const blob = await ask(`/v2/${upstream}/${name}/blobs/${digest}`, { headers });
          t.is(blob.status, 200, told);
        }
        t.is((await ask(`/v2/${upstream}/org/private/${MANIFEST}`, { headers })).status, 401, told);
      }
      t.is((await ask('/v2/', { headers })).status, 401);
      t.is((await ask(`/token?service=x&${SCOPE}`, { headers })).status, 200);
      t.is((await ask('/token?service=x', { headers })).status, 401);
    }
  }
}

/** In forms, queries, URLs and the admin door. */
async function showElsewhere({ ask, admin, mirror }: Scene, book: Book): Promise<void> {
  const { word } = book;
  for (const scope of [{}, { scope: 'repository:library/open:pull' }] as Shown[]) {
    const login = { grant_type: 'password', username: 'hub-user', password: word('password') };
    await ask('/token', form({ ...login, ...scope }));
    await ask('/token', form({ ...login, username: word('unknown'), ...scope }));
    const refresh = { grant_type: 'refresh_token', refresh_token: word('refresh') };
    await ask('/token', form({ ...refresh, ...scope }));
    await ask('/token', form({ grant_type: word('password'), ...scope }));
  }
  for (const path of [
    '/token',
    '/v2/',
    `/v2/library/open-0/${MANIFEST}`,
    `/v2/org/private/${MANIFEST}`,
  ])
    await ask(`${path}?password=${word('query')}&access_token=${word('query')}`);
  const { host, port } = new URL(mirror.url);
  for (const path of [`/v2/org/private/${MANIFEST}`, '/v2/Wrong/manifests/v1', '/elsewhere']) {
    const target = `http://me:${word('userinfo')}@${host}${path}`;
    await rawRequest(
      Number(port),
      `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
  }
  for (const headers of [
    basic('ops', word('admin')),
    { authorization: `Bearer ${word('admin')}` },
  ]) {
    await admin(`/api/v1/status?token=${word('admin')}`, { headers });
    await admin('/api/v1/gc', { method: 'POST', headers });
  }
}

/** By each way that counts, with all that is made for it. */
async function logIn(t: ExecutionContext, scene: Scene, book: Book): Promise<string> {
  const { cluster, mirror, ask } = scene;
  const { word, add } = book;
  const claims = serviceAccount(CLUSTER, { at: Date.now(), namespace: 'team', account: 'builder' });
  const jwt = await cluster.sign(claims);
  add('JWT', jwt.split('.')[2] ?? '');
  const made = await get(`${mirror.server.adminUrl}/api/v1/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...basic('ops', word('ops')) },
    body: JSON.stringify({ name: 'ci', owner: 'alice' }),
  });
  const { id, secret } = JSON.parse(String(made.body)) as { id: string; secret: string };
  add('API token', secret.slice(secret.lastIndexOf(id) + id.length + 1));
  const scope = 'service=x&scope=repository:org/private:pull';
  for (const headers of [
    basic('alice', word('alice')),
    basic('any', secret),
    basic('_json_key', JSON.stringify({ type: 'entrepot_key', id, secret })),
    { authorization: `Bearer ${secret}` },
    basic('anything', jwt),
    { authorization: `Bearer ${jwt}` },
  ]) {
    t.is((await ask(`/v2/org/private/${MANIFEST}`, { headers })).status, 200);
    const { body } = await get(`${mirror.url}/token?${scope}`, { headers });
    const { token } = JSON.parse(String(body)) as { token: string };
    add(`token of ${Object.values(headers)[0]?.slice(0, 16)}`, token.split('.')[2] ?? '');
    const bearer = { authorization: `Bearer ${token}` };
    t.is((await ask(`/v2/org/private/${MANIFEST}`, { headers: bearer })).status, 200);
    await ask(`/v2/library/absent/${MANIFEST}`, { headers: bearer });
    await ask(`/v2/org/private/${MANIFEST}?token=${token}`);
    await ask(`/elsewhere/${secret}`, {
      headers: { 'user-agent': secret, 'x-request-id': secret },
    });
  }
  return secret;
}

/** What operators ask. */
async function lookAround(t: ExecutionContext, scene: Scene, book: Book, token: string) {
  const { admin, mirror, htpasswd, hub } = scene;
  const headers = basic('ops', book.word('ops'));
  const paths =
    'status store images pins gc sync tokens bundles explain?image=hub.example/library/open-0:v1';
  for (const path of paths.split(' '))
    t.is((await admin(`/api/v1/${path}`, { headers })).status, 200);
  t.is((await admin('/metrics', { headers })).status, 200);
  await admin(`/api/v1/tokens/${token}`, { method: 'DELETE', headers });
  const yaml = JSON.stringify({
    listen: new URL(mirror.url).host,
    admin: new URL(mirror.server.adminUrl).host,
    store: { path: mirror.storePath },
    defaultUpstream: HUB,
    access: { htpasswd: { file: htpasswd }, rules: mirror.config.access?.rules },
    upstreams: {
      [HUB]: { url: hub.url, credentials: { username: 'robot', password: { env: 'ACCOUNT' } } },
    },
  });
  const outputs: string[] = [];
  for (const args of [
    'config check',
    'status',
    'ls',
    'pins',
    `explain ${HUB}/library/open-0:v1`,
    'token list',
    `token revoke ${token}`,
    'token list --json',
  ]) {
    const env = { ACCOUNT: book.word('account'), NO_COLOR: '1' };
    const files = { 'mirror.yaml': yaml };
    const parts = { readStoreId: async () => undefined };
    const options = { files, env, parts };
    const { stdout, stderr, code } = await runStoreCommand(
      t,
      [...args.split(' '), '--config', 'mirror.yaml'],
      options,
    );
    t.is(code, args.includes('revoke') ? 64 : 0, `${args}: ${stderr}`);
    outputs.push(`${args}\n${stdout}${stderr}`);
  }
  // What was typed is not what was answered.
  return outputs.map((text) => text.slice(text.indexOf('\n')));
}

function filesBelow(folder: string): { path: string; text: string }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((path) => ({ path, text: readFileSync(path, 'latin1') }));
}

test('nothing that is shown at either door is shown to anybody else, kept, or passed on', async (t) => {
  t.timeout(240_000);
  const book = openBook();
  const scene = await start(t, book);
  await showForeign(t, scene, book);
  await showElsewhere(scene, book);
  const token = await logIn(t, scene, book);
  const outputs = await lookAround(t, scene, book, token);
  const { mirror, collector, answers, audit, hub, other } = scene;
  await mirror.idle();
  await mirror.stop();
  t.true(collector.spans.length > 100);
  const { pem } = (
    JSON.parse(readFileSync(join(mirror.storePath, 'access-keys.json'), 'utf8')) as {
      keys: { pem: string }[];
    }
  ).keys[0] ?? { pem: '' };
  book.add('signing key', pem.split('\n')[1] ?? '');
  const sight: Record<string, string[]> = {
    log: mirror.log.flatMap((line) => [JSON.stringify(line), lineForPeople(line, false)]),
    audit: readFileSync(audit, 'utf8').split('\n'),
    answers: answers.map(({ rawHeaders, body }) => `${rawHeaders.join('\n')}\n${body.toString()}`),
    spans: collector.bodies.map((body) => body.toString('latin1')),
    commands: outputs,
    'files of the store': filesBelow(mirror.storePath)
      .filter(({ path }) => !path.endsWith('access-keys.json'))
      .map(({ path, text }) => `${path}\n${text}`),
    'requests to an upstream without an account': other.requests.map(told),
  };
  for (const [place, texts] of Object.entries(sight)) {
    t.true(texts.length > 0, place);
    const found = texts.flatMap((text) =>
      book.shownIn(text).map((name) => `${name}: ${text.slice(0, 700)}`),
    );
    t.deepEqual(found, [], place);
    // Nor a hash that somebody could guess from.
    t.deepEqual(
      texts.filter((text) => text.includes('$2b$')),
      [],
      place,
    );
  }
  const sent = new Set(hub.requests.flatMap((request) => book.shownIn(told(request))));
  t.deepEqual([...sent], ['account']);
  const withAccount = hub.requests.filter((request) => book.shownIn(told(request)).length > 0);
  t.deepEqual([...new Set(withAccount.map(({ origin }) => origin))], ['token']);
});

/** All that a request carries, with what Basic hides. */
function told({ method, path, search, headers, form: fields }: FakeRegistry['requests'][number]) {
  return [method, path, search, JSON.stringify(headers), fields.toString()].join('\n');
}
