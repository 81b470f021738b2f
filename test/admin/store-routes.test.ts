import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Listener } from '../../src/http/listener.ts';
import { UpstreamError } from '../../src/oci/upstream-error.ts';
import { get, rawRequest } from '../helpers/client.ts';
import { createFakeAdmin } from './fake-admin.ts';
import {
  COLLECTION,
  FakeStoreApi,
  IMAGES,
  NGINX,
  NOON,
  NO_IMAGE,
  PINS,
  REFRESH,
  REMOVAL,
  REPORT,
  SUMMARY,
} from './fake-store-api.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };

interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** The admin application of a fake API, on a socket of its own. */
async function startAdmin(t: ExecutionContext, host = 'admin.example') {
  const store = new FakeStoreApi();
  const lines: Record<string, unknown>[] = [];
  const keep = (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = pino({ level: 'info', base: {} }, { write: keep });
  const app = createFakeAdmin({ store, host, log });
  const listener = await Listener.open({ host: '127.0.0.1', port: 0 }, app.callback(), log);
  t.teardown(async () => listener.close(0));
  const send = async (path: string, { method = 'GET', headers = {}, body }: Sent = {}) => {
    const sent = body === undefined ? {} : { body };
    const answer = await fetch(`${listener.url}${path}`, { method, headers, ...sent });
    const words = await answer.text();
    return {
      status: answer.status,
      body: words === '' ? undefined : (JSON.parse(words) as unknown),
    };
  };
  const write = async (method: string, path: string, value: unknown) =>
    send(path, { method, headers: JSON_TYPE, body: JSON.stringify(value) });
  return { store, lines, send, write, url: listener.url, app };
}

const FOREIGN = [
  'evil.example',
  'evil.example:5001',
  'admin.example.evil.example',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  '2130706433',
];
const NO_HOSTS = ['127.0.0.1@evil.example', '[::1', '[evil.example]', 'localhost:5001:5001'];
for (const host of [...FOREIGN, ...NO_HOSTS]) {
  test(`the API does not answer to ${host}, whose owner may point it here`, async (t) => {
    const { store, url } = await startAdmin(t);
    for (const [method, path] of [
      ['GET', '/api/v1/status'],
      ['GET', '/API/v1/pins'],
      ['POST', '/api/v1/gc'],
      ['DELETE', '/api/v1/pins?image=a'],
      ['PUT', '/api/v1/in-use/a'],
      ['GET', '/api/v1/unknown'],
    ] as const) {
      const headers = { ...JSON_TYPE, Host: host };
      const { status } = await get(`${url}${path}`, { method, headers });
      t.is(status, FOREIGN.includes(host) ? 403 : 400);
    }
    t.deepEqual(store.calls, []);
  });
}

for (const host of [
  '127.0.0.1',
  '192.0.2.7:5001',
  '[::1]',
  '[2001:db8::1]:5001',
  'localhost:5001',
  'LocalHost',
  'admin.example',
  'Admin.Example.:5001',
]) {
  test(`the API answers to ${host}`, async (t) => {
    const { url } = await startAdmin(t);
    t.is((await get(`${url}/api/v1/pins`, { headers: { Host: host } })).status, 200);
  });
}

test('health and metrics answer under any name', async (t) => {
  const { url } = await startAdmin(t);
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    t.is((await get(`${url}${path}`, { headers: { Host: 'evil.example' } })).status, 200);
  }
});

for (const [listens, status] of [
  ['127.0.0.1', 403],
  ['::1', 403],
  ['0.0.0.0', 200],
  ['::', 200],
  ['192.0.2.7', 200],
] as const) {
  test(`an API that listens on ${listens} answers ${status} to a name of the network`, async (t) => {
    const { url } = await startAdmin(t, listens);
    const headers = { Host: 'mirror.example:5001' };
    t.is((await get(`${url}/api/v1/pins`, { headers })).status, status);
  });
}

test('the API goes by the host of a whole URL, not by the Host beside it', async (t) => {
  const { url } = await startAdmin(t);
  for (const [target, host, status] of [
    ['http://evil.example/api/v1/pins', '127.0.0.1', 403],
    ['http://127.0.0.1/api/v1/pins', 'evil.example', 200],
  ] as const) {
    const text = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const answer = await rawRequest(Number(new URL(url).port), text);
    t.regex(answer, new RegExp(`^HTTP/1\\.1 ${status} `), target);
  }
});

test('a request to the API that names no host is refused', async (t) => {
  const { store, url } = await startAdmin(t);
  const answer = await rawRequest(Number(new URL(url).port), 'GET /api/v1/pins HTTP/1.0\r\n\r\n');
  t.regex(answer, /^HTTP\/1\.1 403 /);
  t.deepEqual(store.calls, []);
});

test('on a path, where no browser comes, the name does not count', async (t) => {
  const { app } = await startAdmin(t);
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-test-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const path = join(folder, 'admin.sock');
  const listener = await Listener.open({ path }, app.callback(), pino({ level: 'silent' }));
  const headers = { Host: 'any.example' };
  const asked = request({ socketPath: path, path: '/api/v1/pins', agent: false, headers }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  t.deepEqual(JSON.parse(await text(response)), { pins: PINS });
  await listener.close(0);
});

for (const [path, call, body] of [
  ['/api/v1/store', ['summary'], SUMMARY],
  ['/api/v1/images', ['images', { sort: 'name', limit: 1000 }], { images: IMAGES }],
  [
    '/api/v1/images?sort=oldest&limit=7&match=docker.io/**:1.*',
    ['images', { sort: 'oldest', limit: 7, match: 'docker.io/**:1.*' }],
    { images: IMAGES },
  ],
  ['/api/v1/explain?image=docker.io/library/nginx%401.27', ['explain', `${NGINX}@1.27`], REPORT],
  ['/api/v1/gc', ['planCollection', undefined], COLLECTION],
  ['/api/v1/gc?bytes=2147483648', ['planCollection', 2_147_483_648], COLLECTION],
  ['/api/v1/pins', ['pins'], { pins: PINS }],
] as const) {
  test(`GET ${path} is the API's document`, async (t) => {
    const { store, send } = await startAdmin(t);
    t.deepEqual(await send(path), { status: 200, body });
    t.deepEqual(store.calls, [call as unknown as unknown[]]);
  });
}

test('what is not held cannot be explained', async (t) => {
  const { store, send } = await startAdmin(t);
  store.reportNow = undefined;
  t.deepEqual(await send(`/api/v1/explain?image=${NGINX}`), {
    status: 404,
    body: { error: `nothing of ${NGINX} is held` },
  });
});

test('beside what is not held the tags are told that are', async (t) => {
  const { store, send } = await startAdmin(t);
  store.reportNow = undefined;
  store.tagsNow = ['v1', `sha256-${'1'.repeat(64)}.sig`, 'v2'];
  const path = `/api/v1/explain?image=${NGINX}:latest`;
  const told = `nothing of ${NGINX}:latest is held; of ${NGINX} there is`;
  t.deepEqual(await send(path), { status: 404, body: { error: `${told} v1, v2` } });
  store.tagsNow = ['1', '2', '3', '4', '5', '6', '7'];
  t.deepEqual(await send(path), {
    status: 404,
    body: { error: `${told} 1, 2, 3, 4, 5 and 2 more` },
  });
});

test('of what is not pinned by hand it is told who else has pinned it', async (t) => {
  const { store, send } = await startAdmin(t);
  const unpin = async () => send('/api/v1/pins?image=a', { method: 'DELETE' });
  const since = NOON;
  store.pinsOfNow = [
    { origin: 'sync', image: 'ghcr.io/org/a@sha256:1', reason: 'sync.rules[0]', since },
  ];
  t.deepEqual(await unpin(), {
    status: 404,
    body: { error: 'a is not pinned by hand', detail: { pins: store.pinsOfNow } },
  });
});

test('POST gc collects, by as much as its body says', async (t) => {
  const { store, send, write } = await startAdmin(t);
  t.deepEqual(await write('POST', '/api/v1/gc', { bytes: 5 }), { status: 200, body: COLLECTION });
  t.deepEqual(await send('/api/v1/gc', { method: 'POST', headers: JSON_TYPE }), {
    status: 200,
    body: COLLECTION,
  });
  t.deepEqual(store.calls, [
    ['collect', 5],
    ['collect', undefined],
  ]);
});

test('POST refresh asks about one tag', async (t) => {
  const { store, write } = await startAdmin(t);
  const image = 'ghcr.io/org/app:v1';
  t.deepEqual(await write('POST', '/api/v1/refresh', { image }), { status: 200, body: REFRESH });
  t.deepEqual(store.calls, [['refresh', image]]);
  t.is((await write('POST', '/api/v1/refresh', {})).status, 400);
});

test('GET rm says what would go, POST rm removes it', async (t) => {
  const { store, send, write } = await startAdmin(t);
  const image = 'ghcr.io/org/app:v1';
  t.deepEqual(await send(`/api/v1/rm?image=${image}`), { status: 200, body: REMOVAL });
  t.deepEqual(await write('POST', '/api/v1/rm', { image }), { status: 200, body: REMOVAL });
  t.deepEqual(store.calls, [
    ['remove', image, { isPlan: true }],
    ['remove', image, { isPlan: false }],
  ]);
  store.removalNow = undefined;
  store.tagsNow = ['v2'];
  t.deepEqual(await write('POST', '/api/v1/rm', { image }), {
    status: 404,
    body: { error: `nothing of ${image} is held; of ghcr.io/org/app there is v2` },
  });
  t.is((await send('/api/v1/rm')).status, 400);
  t.is((await write('POST', '/api/v1/rm', {})).status, 400);
  t.is((await write('POST', '/api/v1/rm', { image, all: true })).status, 400);
});

test('POST verify begins it and answers with its state, which GET tells too', async (t) => {
  const { store, send, write } = await startAdmin(t);
  const start = { startedAt: NOON, blobs: 0, bytes: 0, totalBlobs: 9, totalBytes: 70, damaged: 0 };
  store.verifyStart = { running: start };
  t.deepEqual(await send('/api/v1/verify'), { status: 200, body: {} });
  t.deepEqual(await write('POST', '/api/v1/verify', {}), { status: 202, body: { running: start } });
  t.deepEqual(await send('/api/v1/verify'), { status: 200, body: { running: start } });
  t.deepEqual(store.calls, [['startVerify']]);
});

test('a pin by hand is made and taken back', async (t) => {
  const { store, send, write } = await startAdmin(t);
  const image = `${NGINX}:1.27`;
  t.deepEqual(await write('POST', '/api/v1/pins', { image, reason: 'why not' }), {
    status: 201,
    body: { origin: 'hand', image, reason: 'why not', since: NOON, isHeld: true },
  });
  t.deepEqual(await write('POST', '/api/v1/pins', { image }), {
    status: 201,
    body: { origin: 'hand', image, since: NOON, isHeld: true },
  });
  const path = `/api/v1/pins?image=${encodeURIComponent(image)}`;
  t.deepEqual(await send(path, { method: 'DELETE' }), { status: 204, body: undefined });
  t.deepEqual(await send('/api/v1/pins?image=other', { method: 'DELETE' }), {
    status: 404,
    body: { error: 'other is not pinned by hand' },
  });
  t.deepEqual(store.calls, [
    ['pin', image, 'why not'],
    ['pin', image, undefined],
    ['unpin', image],
    ['unpin', 'other'],
  ]);
});

test('a source tells what it has in use, also that it is nothing any more', async (t) => {
  const { store, write } = await startAdmin(t);
  store.unheldNow = new Set(['a']);
  t.deepEqual(await write('PUT', '/api/v1/in-use/cluster-a', { images: ['a', 'b:1'] }), {
    status: 200,
    body: {
      pins: [
        { origin: 'use:cluster-a', image: 'a', since: NOON, isHeld: false },
        { origin: 'use:cluster-a', image: 'b:1', since: NOON, isHeld: true },
      ],
      passedOver: [],
    },
  });
  t.deepEqual(await write('PUT', '/api/v1/in-use/cluster-a', { images: [] }), {
    status: 200,
    body: { pins: [], passedOver: [] },
  });
  await write('PUT', '/api/v1/in-use/cluster-a', { images: [' ', 'a'], add: true });
  t.deepEqual(store.calls, [
    ['setInUse', 'cluster-a', { entries: ['a', 'b:1'], isWhole: true }],
    ['setInUse', 'cluster-a', { entries: [], isWhole: true }],
    ['setInUse', 'cluster-a', { entries: [' ', 'a'], isWhole: false }],
  ]);
});

const LIMIT = 'must be a whole number from 1 to 100000, not';
const BYTES = 'must be a whole number from 1 to 9007199254740991, not';
for (const [method, path, body, error] of [
  ['GET', '/api/v1/images?limit=0', undefined, `"limit" ${LIMIT} "0"`],
  ['GET', '/api/v1/images?limit=100001', undefined, `"limit" ${LIMIT} "100001"`],
  ['GET', '/api/v1/images?limit=1e3', undefined, `"limit" ${LIMIT} "1e3"`],
  ['GET', '/api/v1/images?limit=', undefined, `"limit" ${LIMIT} ""`],
  ['GET', '/api/v1/images?limit=1&limit=2', undefined, `"limit" ${LIMIT} ["1","2"]`],
  [
    'GET',
    '/api/v1/images?sort=colour',
    undefined,
    '"sort" must be "name" or "size" or "oldest" or "pulls", not "colour"',
  ],
  [
    'GET',
    '/api/v1/images?order=name',
    undefined,
    '"order" is not known here: write "sort" or "limit" or "match"',
  ],
  ['GET', '/api/v1/images?match=', undefined, '"match" must be one text that is not empty, not ""'],
  ['GET', '/api/v1/explain', undefined, '"image" is missing: write it as a text'],
  [
    'GET',
    '/api/v1/explain?image=a&image=b',
    undefined,
    '"image" must be one text that is not empty, not ["a","b"]',
  ],
  ['GET', '/api/v1/gc?bytes=-1', undefined, `"bytes" ${BYTES} "-1"`],
  ['GET', '/api/v1/gc?bytes=1GiB', undefined, `"bytes" ${BYTES} "1GiB"`],
  ['GET', '/api/v1/gc?bytes=9007199254740992', undefined, `"bytes" ${BYTES} "9007199254740992"`],
  ['POST', '/api/v1/gc', '{"bytes":"5"}', `"bytes" ${BYTES} "5"`],
  ['POST', '/api/v1/gc', '{"bytes":1.5}', `"bytes" ${BYTES} 1.5`],
  ['POST', '/api/v1/gc', '{"bytes":null}', `"bytes" ${BYTES} null`],
  ['POST', '/api/v1/gc', '[5]', 'the body must be a JSON object with "bytes"'],
  ['POST', '/api/v1/gc', 'null', 'the body must be a JSON object with "bytes"'],
  ['POST', '/api/v1/gc', '{"bytes":', 'the body is not JSON in UTF-8'],
  ['POST', '/api/v1/gc', '{"__proto__":1}', '"__proto__" is not known here: write "bytes"'],
  ['POST', '/api/v1/gc', Buffer.from('{"\xff":1}', 'latin1'), 'the body is not JSON in UTF-8'],
  ['POST', '/api/v1/verify', '{"rebuild":true}', '"rebuild" is not known here: write nothing'],
  ['POST', '/api/v1/pins', undefined, '"image" is missing: write it as a text'],
  ['POST', '/api/v1/pins', '{"image":" "}', '"image" must be one text that is not empty, not " "'],
  [
    'POST',
    '/api/v1/pins',
    '{"image":["a"]}',
    '"image" must be one text that is not empty, not ["a"]',
  ],
  [
    'POST',
    '/api/v1/pins',
    '{"image":"a","reason":7}',
    '"reason" must be one text that is not empty, not 7',
  ],
  [
    'POST',
    '/api/v1/pins',
    '{"image":"a","origin":"config"}',
    '"origin" is not known here: write "image" or "reason"',
  ],
  ['DELETE', '/api/v1/pins', undefined, '"image" is missing: write it as a text'],
  ['PUT', '/api/v1/in-use/a', '{}', '"images" must be a list of texts, not nothing'],
  ['PUT', '/api/v1/in-use/a', '{"images":"a"}', '"images" must be a list of texts, not "a"'],
  [
    'PUT',
    '/api/v1/in-use/a',
    '{"images":["a",null]}',
    '"images" must be a list of texts, not with null',
  ],
  [
    'PUT',
    '/api/v1/in-use/a',
    '{"images":[],"add":"yes"}',
    '"add" must be true or false, not "yes"',
  ],
  [
    'PUT',
    '/api/v1/in-use/a%2Fb',
    '{"images":[]}',
    'name the source with up to 64 letters, digits, ".", "_" and "-", not "a/b"',
  ],
] as const) {
  test(`${method} ${path} with ${body === undefined ? 'no body' : String(body)} is refused`, async (t) => {
    const { store, send } = await startAdmin(t);
    const sent = body === undefined ? {} : { body };
    t.deepEqual(await send(path, { method, headers: JSON_TYPE, ...sent }), {
      status: 400,
      body: { error },
    });
    t.deepEqual(store.calls, []);
  });
}

for (const [method, path] of [
  ['POST', '/api/v1/gc'],
  ['POST', '/api/v1/verify'],
  ['POST', '/api/v1/pins'],
  ['PUT', '/api/v1/in-use/a'],
  ['POST', '/api/v1/refresh'],
  ['POST', '/api/v1/rm'],
] as const) {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=application/json',
    'application/json5',
    '',
  ]) {
    test(`${method} ${path} as "${type}", which a form could send, is refused`, async (t) => {
      const { store, send } = await startAdmin(t);
      const headers: Record<string, string> = type === '' ? {} : { 'Content-Type': type };
      t.deepEqual(await send(path, { method, headers, body: Buffer.from('{}') }), {
        status: 415,
        body: {
          error: 'write the body as JSON, with the header Content-Type: application/json',
        },
      });
      t.deepEqual(store.calls, []);
    });
  }
}

test('the type may name its charset', async (t) => {
  const { store, send } = await startAdmin(t);
  const headers = { 'Content-Type': 'Application/JSON; charset=utf-8' };
  t.is((await send('/api/v1/gc', { method: 'POST', headers, body: '{}' })).status, 200);
  t.deepEqual(store.calls, [['collect', undefined]]);
});

test('a body of 1 MiB is read, one of a byte more is refused', async (t) => {
  const { store, send } = await startAdmin(t);
  const fill = 2 ** 20 - '{"image":""}'.length;
  const body = (length: number) => JSON.stringify({ image: 'a'.repeat(length) });
  const post = async (length: number) =>
    send('/api/v1/pins', { method: 'POST', headers: JSON_TYPE, body: body(length) });
  t.is((await post(fill)).status, 201);
  t.deepEqual(await post(fill + 1), {
    status: 413,
    body: { error: 'the body has more than 1048576 bytes' },
  });
  t.deepEqual(store.calls, [['pin', 'a'.repeat(fill), undefined]]);
});

test('a refusal keeps its status and words, the cause first, and is no fault', async (t) => {
  const { store, lines, send, write } = await startAdmin(t);
  store.fault = NO_IMAGE;
  const refusal = {
    status: 400,
    body: { error: 'write it as docker.io/library/nginx:1.27: this names no image' },
  };
  t.deepEqual(await send('/api/v1/explain?image=-'), refusal);
  t.deepEqual(await write('POST', '/api/v1/pins', { image: '-' }), refusal);
  t.deepEqual(lines, []);
});

test('a fault of an upstream is told as the mirror tells it', async (t) => {
  const { store, lines, send } = await startAdmin(t);
  store.fault = new UpstreamError('docker.io', 'timeout', 'no answer in 5s');
  t.deepEqual(await send('/api/v1/store'), {
    status: 504,
    body: {
      error: (store.fault as Error).message,
      detail: { upstream: 'docker.io', fault: 'timeout' },
    },
  });
  t.deepEqual(lines, []);
});

test('of what nobody foresaw the client hears nothing, and the log all', async (t) => {
  const { store, lines, send } = await startAdmin(t);
  store.fault = new TypeError('the secret of the house');
  t.deepEqual(await send('/api/v1/store'), { status: 500, body: { error: 'internal error' } });
  t.deepEqual(
    lines.map(({ msg, method, path, err }) => ({
      msg,
      method,
      path,
      message: (err as Error).message,
    })),
    [
      {
        msg: 'admin request failed',
        method: 'GET',
        path: '/api/v1/store',
        message: 'the secret of the house',
      },
    ],
  );
});

test('a listener on a path answers there, and leaves nothing behind', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-test-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const path = join(folder, 'admin.sock');
  const log = pino({ level: 'silent' });
  const listener = await Listener.open({ path }, (_, response) => response.end('here'), log);
  t.is(listener.url, `unix:${path}`);
  t.true((await stat(path)).isSocket());
  const asked = request({ socketPath: path, path: '/', agent: false }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  t.is(await text(response), 'here');
  const second = Listener.open({ path }, () => undefined, log);
  await t.throwsAsync(second, { code: 'EADDRINUSE' });
  await listener.close(0);
  t.deepEqual(await readdir(folder), []);
});
