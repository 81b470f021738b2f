import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { Listener } from '../../src/http/listener.ts';
import { createFakeAdmin } from './fake-admin.ts';
import { FakeWarmApi, WARM_PROGRESS, WARM_REPORT } from './fake-warm-api.ts';

const JSON_TYPE = { 'Content-Type': 'application/json' };

async function startAdmin(t: ExecutionContext) {
  const warm = new FakeWarmApi();
  const log = pino({ level: 'silent' });
  const app = createFakeAdmin({ warm, log });
  const listener = await Listener.open({ host: '127.0.0.1', port: 0 }, app.callback(), log);
  t.teardown(async () => listener.close(0));
  const ask = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`${listener.url}${path}`, init);
    return {
      status: answer.status,
      location: answer.headers.get('location'),
      body: (await answer.json()) as object,
    };
  };
  const post = async (body: object, headers: Record<string, string> = JSON_TYPE) =>
    ask('/api/v1/warm', { method: 'POST', headers, body: JSON.stringify(body) });
  return { warm, ask, post };
}

test('POST warm begins it and says where its state is told', async (t) => {
  const { warm, ask, post } = await startAdmin(t);
  const begun = { id: 'a', running: WARM_PROGRESS };
  t.deepEqual(await post({ images: ['a', 'b'] }), {
    status: 202,
    location: '/api/v1/warm/a',
    body: begun,
  });
  await post({ images: ['a'], platforms: ['linux/amd64', 'linux/arm/v7'], deadline: '1h' });
  t.like(await ask('/api/v1/warm/a'), { status: 200, body: begun });
  warm.stateNow = { id: 'a', last: WARM_REPORT };
  t.like(await ask('/api/v1/warm/a'), { status: 200, body: { id: 'a', last: WARM_REPORT } });
  warm.stateNow = undefined;
  t.like(await ask('/api/v1/warm/b'), {
    status: 404,
    body: {
      error:
        'no such warm is known: it ended long ago, or the server has restarted; ask for its images again',
    },
  });
  t.deepEqual(warm.calls.slice(0, 2), [
    ['begin', { images: ['a', 'b'], platforms: 'all', deadlineMs: 600_000 }],
    ['begin', { images: ['a'], platforms: ['linux/amd64', 'linux/arm/v7'], deadlineMs: 3_600_000 }],
  ]);
});

for (const [body, error] of [
  [{}, '"images" must be a list of texts, not nothing'],
  [{ images: 'a' }, '"images" must be a list of texts, not "a"'],
  [
    { images: ['a'], tags: [] },
    '"tags" is not known here: write "images" or "platforms" or "deadline"',
  ],
  [{ images: ['a'], deadline: '0s' }, '"deadline" must be from 1s to 1h, not 0s'],
  [{ images: ['a'], deadline: '2h' }, '"deadline" must be from 1s to 1h, not 2h'],
  [{ images: ['a'], deadline: 'soon' }, /^"deadline": write .*"soon"/],
  [{ images: ['a'], deadline: 600 }, '"deadline" must be one text that is not empty, not 600'],
  [
    { images: ['a'], platforms: [] },
    '"platforms" must name one at least; leave it out for all of them',
  ],
  [{ images: ['a'], platforms: ['linux/x86_64'] }, /^"platforms": write linux\/amd64/],
] as const) {
  test(`POST warm of ${JSON.stringify(body)} is refused`, async (t) => {
    const { warm, post } = await startAdmin(t);
    const answer = await post(body);
    t.is(answer.status, 400);
    const told = (answer.body as { error: string }).error;
    if (typeof error === 'string') t.is(told, error);
    else t.regex(told, error);
    t.deepEqual(warm.calls, []);
  });
}

test('what a web page could send begins nothing', async (t) => {
  const { warm, ask, post } = await startAdmin(t);
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    t.is((await post({ images: ['a'] }, { 'Content-Type': type })).status, 415);
  }
  t.is((await ask('/api/v1/warm?images=a').catch(() => ({ status: 405 }))).status, 405);
  t.deepEqual(warm.calls, []);
});
