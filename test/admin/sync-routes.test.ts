import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Listener } from '../../src/http/listener.ts';
import { UpstreamError } from '../../src/oci/upstream-error.ts';
import { createFakeAdmin } from './fake-admin.ts';
import { FakeStoreApi, NGINX, NO_IMAGE, REPORT } from './fake-store-api.ts';
import {
  FakeSyncApi,
  LOCK,
  OTHER_RULES,
  PARTIAL,
  PLAN,
  PROGRESS,
  STATUS,
  SYNC_REPORT,
} from './fake-sync-api.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };

interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The admin application of two fake APIs, on a socket of its own. */
async function startAdmin(t: ExecutionContext) {
  const [store, sync] = [new FakeStoreApi(), new FakeSyncApi()];
  const lines: unknown[] = [];
  const log = pino({ level: 'info', base: {} }, { write: (line: string) => lines.push(line) });
  const app = createFakeAdmin({ store, sync, log });
  const listener = await Listener.open({ host: '127.0.0.1', port: 0 }, app.callback(), log);
  t.teardown(async () => listener.close(0));
  const send = async (path: string, { method = 'GET', headers = JSON_TYPE, body }: Sent = {}) => {
    const sent = body === undefined ? {} : { body };
    const answer = await fetch(`${listener.url}${path}`, { method, headers, ...sent });
    return { status: answer.status, body: await answer.json() };
  };
  const post = async (path: string, value?: unknown) =>
    send(path, { method: 'POST', ...(value !== undefined && { body: JSON.stringify(value) }) });
  return { store, sync, lines, send, post };
}

test('GET sync is how ready the site is', async (t) => {
  const { sync, send } = await startAdmin(t);
  t.deepEqual(await send('/api/v1/sync'), { status: 200, body: STATUS });
  t.deepEqual(sync.calls, [['status']]);
});

test('POST sync/plan is what a run would do, of the rules or of a lock', async (t) => {
  const { sync, post } = await startAdmin(t);
  const plan = { status: 200, body: PLAN };
  t.deepEqual(await post('/api/v1/sync/plan'), plan);
  t.deepEqual(await post('/api/v1/sync/plan', {}), plan);
  t.deepEqual(await post('/api/v1/sync/plan', { lock: LOCK }), plan);
  t.deepEqual(sync.calls, [
    ['plan', undefined],
    ['plan', undefined],
    ['plan', LOCK],
  ]);
});

test('POST sync/run begins one and answers with its state, which GET tells too', async (t) => {
  const { sync, send, post } = await startAdmin(t);
  t.deepEqual(await send('/api/v1/sync/run'), { status: 200, body: {} });
  sync.runStart = { running: PROGRESS, last: SYNC_REPORT };
  t.deepEqual(await post('/api/v1/sync/run'), { status: 202, body: sync.runStart });
  t.deepEqual(await send('/api/v1/sync/run'), { status: 200, body: sync.runStart });
  t.deepEqual(await post('/api/v1/sync/run', {}), { status: 202, body: sync.runStart });
  t.deepEqual(sync.calls, [
    ['run', undefined],
    ['run', undefined],
  ]);
});

test('POST sync/run of some images tells of them apart, and begins none beside another run', async (t) => {
  const { sync, send, post } = await startAdmin(t);
  const images = ['a:1', 'b@sha256:1'];
  const running = { ...PROGRESS, only: images };
  sync.someState = { id: 'images', running };
  t.deepEqual(await post('/api/v1/sync/run', { images }), { status: 202, body: sync.someState });
  t.deepEqual(await post('/api/v1/sync/run', { images, lock: LOCK }), {
    status: 202,
    body: sync.someState,
  });
  t.deepEqual(await send('/api/v1/sync/run/images'), { status: 200, body: sync.someState });
  const calls = [
    ['runSome', images, undefined],
    ['runSome', images, LOCK],
  ];
  t.deepEqual(sync.calls, calls);
  const error = 'a run is under way already: wait for its end, then begin this one';
  for (const [state, body] of [
    [{ running: PROGRESS }, { images }],
    [{ running }, { images }],
    [{ running }, {}],
  ] as const) {
    sync.runState = state;
    t.deepEqual(await post('/api/v1/sync/run', body), { status: 409, body: { error } });
  }
  t.is((await post('/api/v1/sync/run', { images: 'a' })).status, 400);
  t.deepEqual(sync.calls, calls);
});

test('a lock is replayed when nothing runs, and never passed off as the run that does', async (t) => {
  const { sync, post } = await startAdmin(t);
  sync.runStart = { running: PROGRESS };
  t.deepEqual(await post('/api/v1/sync/run', { lock: LOCK }), {
    status: 202,
    body: { running: PROGRESS },
  });
  t.deepEqual(await post('/api/v1/sync/run', { lock: LOCK }), {
    status: 409,
    body: { error: 'a run is under way already: wait for its end, then begin this one' },
  });
  t.deepEqual(sync.calls, [['run', LOCK]]);
});

for (const [path, keys] of [
  ['/api/v1/sync/plan', '"lock"'],
  ['/api/v1/sync/run', '"lock" or "images"'],
] as const) {
  for (const [body, error] of [
    ['{"lock":null}', '"lock" must be an object, not null'],
    ['{"lock":[]}', '"lock" must be an object, not []'],
    ['{"lock":"plan.lock"}', '"lock" must be an object, not "plan.lock"'],
    ['{"locked":{}}', `"locked" is not known here: write ${keys}`],
    ['[]', `the body must be a JSON object with ${keys}`],
    ['{"lock":', 'the body is not JSON in UTF-8'],
  ] as const) {
    test(`POST ${path} with ${body} is refused`, async (t) => {
      const { sync, send } = await startAdmin(t);
      t.deepEqual(await send(path, { method: 'POST', body }), { status: 400, body: { error } });
      t.deepEqual(sync.calls, []);
    });
  }

  test(`POST ${path} as a form could send it is refused`, async (t) => {
    const { sync, send } = await startAdmin(t);
    const headers = { 'Content-Type': 'text/plain' };
    t.is((await send(path, { method: 'POST', headers, body: '{}' })).status, 415);
    t.deepEqual(sync.calls, []);
  });

  test(`POST ${path} keeps the words of the API about a lock`, async (t) => {
    const { sync, lines, post } = await startAdmin(t);
    sync.fault = OTHER_RULES;
    t.deepEqual(await post(path, { lock: LOCK }), {
      status: 400,
      body: { error: 'lock.rules: the rules have changed since it was written' },
    });
    t.deepEqual(lines, []);
  });

  test(`POST ${path} takes a lock of ten thousand images`, async (t) => {
    const { sync, post } = await startAdmin(t);
    const [first] = LOCK.images;
    const images = Array.from({ length: 10_000 }, (_, tag) => ({ ...first, tag: `1.27.${tag}` }));
    const lock = { ...LOCK, images };
    t.true((await post(path, { lock })).status < 300);
    // As texts: to compare them deeply takes seconds.
    const call = path.endsWith('plan') ? 'plan' : 'run';
    t.true(JSON.stringify(sync.calls) === JSON.stringify([[call, lock]]));
  });
}

test('an upstream that fails while it is planned is told as the mirror tells it', async (t) => {
  const { sync, post } = await startAdmin(t);
  sync.fault = new UpstreamError('ghcr.io', 'timeout', 'no answer in 5s');
  t.deepEqual(await post('/api/v1/sync/plan'), {
    status: 504,
    body: {
      error: (sync.fault as Error).message,
      detail: { upstream: 'ghcr.io', fault: 'timeout' },
    },
  });
});

const EXPLAIN = `/api/v1/explain?image=${encodeURIComponent(`${NGINX}:1.27`)}`;

test('what a rule wants of an image stands beside what is held of it', async (t) => {
  const { store, sync, send } = await startAdmin(t);
  t.deepEqual(await send(EXPLAIN), { status: 200, body: REPORT });
  sync.imageNow = PARTIAL;
  t.deepEqual(await send(EXPLAIN), { status: 200, body: { ...REPORT, sync: PARTIAL } });
  const calls = [
    ['explain', `${NGINX}:1.27`],
    ['explain', `${NGINX}:1.27`],
  ];
  t.deepEqual(store.calls, calls);
  t.deepEqual(sync.calls, calls);
});

test('an image that a rule wants is explained also when nothing of it is held', async (t) => {
  const { store, sync, send } = await startAdmin(t);
  store.reportNow = undefined;
  t.deepEqual(await send(EXPLAIN), {
    status: 404,
    body: { error: `nothing of ${NGINX}:1.27 is held` },
  });
  sync.imageNow = PARTIAL;
  t.deepEqual(await send(EXPLAIN), {
    status: 200,
    body: { image: `${NGINX}:1.27`, sync: PARTIAL },
  });
});

test('what names no image is refused before a rule is asked', async (t) => {
  const { store, sync, send } = await startAdmin(t);
  store.fault = NO_IMAGE;
  t.is((await send('/api/v1/explain?image=-')).status, 400);
  t.deepEqual(sync.calls, []);
});
