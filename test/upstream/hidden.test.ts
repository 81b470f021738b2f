import test, { type ExecutionContext } from 'ava';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import type { AuthOptions } from '../helpers/fake-token-server.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { MINUTE, SECOND } from '../helpers/clock.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { until } from '../helpers/until.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene, told, type Scene } from '../helpers/scene.ts';

const USER = { username: 'robot', password: 'pass:word' };
const SCOPE = `repository:${REPOSITORY}:pull`;
const PING = 'GET /v2/';
const TOKEN = `GET token ${SCOPE}`;
const HEAD_LATEST = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET_APP = `GET /v2/${REPOSITORY}/manifests/<app>`;

/** To nobody the whole repository is 404, in place of a challenge. */
function hide(registry: FakeRegistry): void {
  registry.status(
    ({ path, authorization }) => path.startsWith(`/v2/${REPOSITORY}/`) && authorization === 'none',
    404,
    { times: Infinity },
  );
}

async function startHidden(
  t: ExecutionContext,
  kind: AuthOptions['kind'],
  negativeTtlMs = 0,
): Promise<Scene> {
  const scene = await startScene(t, {
    registry: { auth: { kind, ...USER } },
    upstream: { credentials: USER, hydrate: 'off' },
    tags: { negativeTtlMs },
  });
  hide(scene.registry);
  return scene;
}

for (const [kind, login] of [
  ['bearer', [TOKEN]],
  ['basic', []],
] as const) {
  test(`a repository that is hidden by 404 is pulled with the account, whose login /v2/ asks for once: ${kind}`, async (t) => {
    const { registry, image, manifest, blob, ask } = await startHidden(t, kind);
    t.is((await manifest('latest')).status, 200);
    for (const layer of image.layers) t.is((await blob(layer)).status, 200);
    t.is((await ask(`/v2/${REPOSITORY}/tags/list`)).status, 200);
    t.is((await ask(`/v2/${REPOSITORY}/referrers/${image.manifest.digest}`)).status, 200);
    const heard = registry.conversation();
    t.deepEqual(heard.slice(0, 3 + login.length), [PING, ...login, HEAD_LATEST, GET_APP]);
    t.is(heard.filter((request) => request === PING).length, 1);
    for (const { path, authorization } of registry.requests.slice(1)) {
      t.not(authorization, 'none', path);
    }
  });
}

test('the first HEAD of a hidden tag, and the first of a hidden blob, come with the account', async (t) => {
  for (const what of ['manifest', 'blob'] as const) {
    const { registry, image, manifest, blob } = await startHidden(t, 'basic');
    const head = { method: 'HEAD' } as const;
    const answer = await (what === 'manifest'
      ? manifest('latest', head)
      : blob(image.layers[0]!, head));
    t.is(answer.status, 200);
    t.deepEqual(registry.conversation()[0], PING);
    for (const { authorization } of registry.requests.slice(1)) t.is(authorization, 'basic:robot');
  }
});

test('after a restart a hidden repository is pulled as before', async (t) => {
  const storePath = await createTempFolder(t);
  const registry = await FakeRegistry.start(t, { auth: { kind: 'bearer', ...USER } });
  hide(registry);
  for (const tag of ['one', 'two']) {
    registry.addImage(REPOSITORY, tag, buildImage({ seed: tag, layers: [10] }), { name: tag });
    const mirror = await startMirror(t, {
      storePath,
      upstreams: { [UPSTREAM]: { url: registry.url, credentials: USER, hydrate: 'off' } },
    });
    registry.clear();
    const answer = await get(`${mirror.url}/v2/${REPOSITORY}/manifests/${tag}`);
    t.is(answer.status, 200);
    t.deepEqual(registry.conversation(), [
      PING,
      TOKEN,
      `HEAD /v2/${REPOSITORY}/manifests/${tag}`,
      `GET /v2/${REPOSITORY}/manifests/<${tag}>`,
    ]);
    await mirror.stop();
  }
});

test('a hidden repository is pulled through a parent that has the account, and by its sync', async (t) => {
  const registry = await FakeRegistry.start(t, { auth: { kind: 'bearer', ...USER } });
  hide(registry);
  const image = buildImage({ seed: 'app', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  const upstreams = { [UPSTREAM]: { url: registry.url, credentials: USER } };
  const parent = await startMirror(t, { upstreams });
  const namespace = { url: parent.url, namespace: UPSTREAM };
  const child = await startMirror(t, { upstreams: { [UPSTREAM]: namespace } });
  const path = `/v2/${REPOSITORY}`;
  t.is((await get(`${child.url}${path}/manifests/latest`)).status, 200);
  t.is((await get(`${child.url}${path}/blobs/${image.layer(0).digest}`)).status, 200);
  const [first, ...others] = registry.requests.map(({ authorization }) => authorization);
  t.deepEqual([first, others.includes('none')], ['none', false]);
  t.is(registry.conversation()[0], PING);

  registry.clear();
  const sync = syncConfig([rule(REPOSITORY, { tags: { names: ['latest'] } })]);
  const site = await startMirror(t, { upstreams, sync });
  const { adminUrl } = site.server;
  await get(`${adminUrl}/api/v1/sync/run`, { method: 'POST' });
  await until('all is there', async () => {
    const { body } = await get(`${adminUrl}/api/v1/sync`);
    return /"ready":1\b/.test(body.toString());
  });
  const asked = registry.requests.map(({ authorization }) => authorization);
  t.deepEqual(asked.indexOf('none'), asked.lastIndexOf('none'));
  t.is(registry.conversation()[0], PING);
});

test('fifty first requests of an account share one question for the login', async (t) => {
  const { registry, manifest } = await startHidden(t, 'basic');
  for (let turn = 0; turn < 50; turn += 1) {
    registry.addImage(REPOSITORY, `v${turn}`, buildImage({ seed: `v${turn}`, layers: [] }));
  }
  const gate = registry.hold('/v2/');
  const answers = Array.from({ length: 50 }, async (_, turn) =>
    manifest(`v${turn}`, { method: 'HEAD' }),
  );
  await gate.arrived();
  gate.open();
  t.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([200]));
  t.is(registry.conversation().filter((request) => request === PING).length, 1);
});

test('a 404 to nobody is no absence while /v2/ fails: it is an error, and the next pull goes well', async (t) => {
  const { registry, manifest, clock } = await startHidden(t, 'bearer', MINUTE);
  registry.status('/v2/', 503);
  const { host } = registry;
  t.deepEqual(refusalOf(await manifest('latest')), {
    status: 502,
    code: 'UNAVAILABLE',
    message: `${UPSTREAM}: ${host} answered 404 without a login, and its /v2/ did not say how to log in`,
    detail: { upstream: UPSTREAM, fault: 'failing' },
  });
  clock.advance(10 * SECOND);
  registry.clear();
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PING, TOKEN, HEAD_LATEST, GET_APP]);
});

test('what is open to all is pulled while /v2/ fails', async (t) => {
  const { registry, manifest } = await startScene(t, {
    upstream: { credentials: USER, hydrate: 'off' },
  });
  registry.status('/v2/', 503);
  t.is((await manifest('latest')).status, 200);
  t.deepEqual(registry.conversation(), [PING, HEAD_LATEST, GET_APP]);
});

test('a registry that asks for no login is asked for one every ten minutes, and its 404 is an absence', async (t) => {
  const { registry, manifest, clock } = await startScene(t, {
    upstream: { credentials: USER, hydrate: 'off' },
  });
  const path = `/v2/${REPOSITORY}/manifests/gone`;
  t.is((await manifest('gone')).status, 404);
  t.is((await manifest('gone')).status, 404);
  clock.advance(10 * MINUTE);
  t.is((await manifest('gone')).status, 404);
  const gone = [`HEAD ${path}`, `GET ${path}`];
  t.deepEqual(registry.conversation(), [PING, ...gone, ...gone, PING, ...gone]);
});

test('without an account nobody asks for /v2/', async (t) => {
  const { registry, manifest } = await startScene(t, { upstream: { hydrate: 'off' } });
  t.deepEqual(told(await manifest('latest')), {
    status: 200,
    cache: 'entrepot; fwd=miss; stored',
    age: '0',
  });
  t.deepEqual(registry.conversation(), [HEAD_LATEST, GET_APP]);
});
