/** Small answers that begin and never end: who waits for one shares one more question, and is answered. */
import { mock } from 'node:test';
import test from 'ava';
import { MINUTE } from '../helpers/clock.ts';
import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { Gate } from '../helpers/gate.ts';
import type { Image } from '../helpers/image.ts';
import type { RecordedRequest } from '../helpers/recorded-request.ts';
import { REPOSITORY, refusalOf, startScene, UPSTREAM } from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const path = (rest: string): string => `/v2/${REPOSITORY}/${rest}`;
const HOUR = 60 * MINUTE;
const TAG = `HEAD ${path('manifests/latest')}`;

interface Kind {
  /** What a client asks for. */
  readonly asked: (image: Image) => { path: string; method?: 'HEAD' };
  /** What the upstream is asked, the silent question last. */
  readonly questions: readonly string[];
}

const KINDS: Record<string, Kind> = {
  'a tag by HEAD': {
    asked: () => ({ path: path('manifests/latest'), method: 'HEAD' }),
    questions: [TAG],
  },
  'a tag': {
    asked: () => ({ path: path('manifests/latest') }),
    questions: [TAG, `GET ${path('manifests/<app>')}`],
  },
  'a manifest by digest': {
    asked: ({ manifest }) => ({ path: path(`manifests/${manifest.digest}`) }),
    questions: [`GET ${path('manifests/<app>')}`],
  },
  'a list of tags': {
    asked: () => ({ path: path('tags/list') }),
    questions: [`GET ${path('tags/list')}?n=1000`],
  },
  'a list of referrers': {
    asked: ({ manifest }) => ({ path: path(`referrers/${manifest.digest}`) }),
    questions: [`GET ${path('referrers/<app>')}`],
  },
  'a blob by HEAD': {
    asked: (image) => ({ path: path(`blobs/${image.layer(0).digest}`), method: 'HEAD' }),
    questions: [`HEAD ${path('blobs/<app.layer0>')}`],
  },
};

/** Meets this one kind of request. */
function meets(question: string) {
  const pattern = question
    .replaceAll(/[?.]/g, String.raw`\$&`)
    .replaceAll(/<[^>]+>/g, String.raw`sha256:\w+`);
  return (request: RecordedRequest): boolean => new RegExp(`^${pattern}$`).test(request.toString());
}

/** How an answer is silent. */
const SILENCES: Record<string, (registry: FakeRegistry, question: string) => Gate> = {
  nothing: (registry, question) => registry.hang(meets(question)),
  'the headers of a 200': (registry, question) => registry.stall(meets(question), { after: 0 }),
  'the headers of a 404': silentStatus(404),
  'the headers of a 307': silentStatus(307),
  'the headers of a 503': silentStatus(503),
};

function silentStatus(status: number) {
  return (registry: FakeRegistry, question: string): Gate => {
    const gate = new Gate();
    const headers = status === 307 ? { Location: '/v2/elsewhere' } : {};
    registry.status(meets(question), status, { headers, body: 'never', gate });
    return gate;
  };
}

for (const [what, { asked, questions }] of Object.entries(KINDS)) {
  const silent = questions.at(-1) ?? '';
  for (const [silence, strike] of Object.entries(SILENCES)) {
    // Nothing follows the headers of an answer to HEAD.
    if (silent.startsWith('HEAD') && silence !== 'nothing') continue;
    test(`${what} of which the upstream sends ${silence} is asked for once more, for all who wait`, async (t) => {
      const { registry, image, ask } = await startScene(t, { timing: { patienceMs: 300 } });
      const { path: address, method = 'GET' } = asked(image);
      const first = strike(registry, silent);
      const second = registry.hang(meets(silent));
      const early = Array.from({ length: 10 }, async () => ask(address, { method }));
      await Promise.all([first.arrived(), second.arrived()]);
      const late = Array.from({ length: 10 }, async () => ask(address, { method }));
      t.deepEqual(registry.conversation(meets(silent)).length, 2);
      second.open();
      for (const { status } of await Promise.all([...early, ...late])) t.is(status, 200);
      await until('the silent exchange is given up', () => first.waiting === 0);
    });
  }
}

test('a tag whose 404 never ends is not taken to be absent once it was found', async (t) => {
  const { registry, ask } = await startScene(t, {
    timing: { patienceMs: 300 },
    tags: { negativeTtlMs: MINUTE, ttlMs: MINUTE },
  });
  const gate = silentStatus(404)(registry, `GET ${path('manifests/<app>')}`);
  t.is((await ask(path('manifests/latest'))).status, 200);
  await until('the silent exchange is given up', () => gate.waiting === 0);
  for (const method of ['GET', 'HEAD']) {
    t.is((await ask(path('manifests/latest'), { method })).status, 200);
  }
});

test('an upstream that answers nobody sees two questions at a time of a hundred clients', async (t) => {
  const { registry, ask } = await startScene(t, { timing: { patienceMs: 300 } });
  const gate = registry.hang(meets(TAG), { times: Infinity });
  const asking = async () => ask(path('manifests/latest'));
  const early = Array.from({ length: 50 }, asking);
  await gate.arrived(2);
  const late = Array.from({ length: 50 }, asking);
  t.deepEqual(registry.conversation(), [TAG, TAG]);
  gate.open();
  for (const { status } of await Promise.all([...early, ...late])) t.is(status, 200);
});

test('a failure of the second question is told where the first one is silent', async (t) => {
  const { registry, ask } = await startScene(t, { timing: { patienceMs: 300, attemptsMs: 0 } });
  const gate = registry.hang(meets(TAG));
  registry.status(meets(TAG), 503);
  const answer = await ask(path('manifests/latest'));
  t.like(refusalOf(answer), {
    status: 503,
    message: `${UPSTREAM}: ${registry.host} answered 503`,
  });
  t.deepEqual(registry.conversation(), [TAG, TAG]);
  await until('the silent exchange is given up', () => gate.waiting === 0);
  t.is((await ask(path('manifests/latest'))).status, 200);
});

test('a failure of the first question is no failure while the second one may succeed', async (t) => {
  const { registry, ask } = await startScene(t, {
    timing: { patienceMs: 2_000, headersMs: 2_400, attemptsMs: 0 },
  });
  const first = registry.hang(meets(TAG));
  const second = registry.hang(meets(TAG));
  const asking = ask(path('manifests/latest'));
  await second.arrived();
  await until('the first one is given up', () => first.waiting === 0);
  second.open();
  t.is((await asking).status, 200);
});

test.serial('a long list of which page after page comes is not silent', async (t) => {
  const { registry, image, ask } = await startScene(t, {
    registry: { pageSize: 1 },
    // Nothing but patience ends in the time of this test.
    timing: { patienceMs: MINUTE, headersMs: HOUR, exchangeMs: HOUR, listingMs: HOUR },
  });
  for (const tag of ['a', 'b']) registry.tag(REPOSITORY, tag, image.manifest);
  const gates = [1, 2, 3].map(() => registry.hang(/tags\/list/));
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const asking = ask(path('tags/list'));
  for (const gate of gates) {
    await gate.arrived();
    mock.timers.tick(0.6 * MINUTE);
    gate.open();
  }
  t.is((await asking).status, 200);
  t.is(registry.requests.length, 3);
});
