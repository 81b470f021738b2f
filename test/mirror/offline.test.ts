import test from 'ava';
import type { ExecutionContext } from 'ava';
import { get } from '../helpers/client.ts';
import { watchDials } from '../helpers/dials.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildArtifact, buildImage, MEDIA_TYPES, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror, type TestMirror } from '../helpers/mirror.ts';
import { refusalOf, staleWarning, told, type Ask } from '../helpers/scene.ts';

const dials = watchDials();

/** Handled a moment late is handled too late: outside of a test the process is gone by then. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

const OFFLINE = 'hub.example: this mirror is set offline and asks no upstream';
const REFUSAL = {
  status: 504,
  code: 'UNAVAILABLE',
  message: OFFLINE,
  detail: { upstream: 'hub.example', fault: 'offline' },
};

interface Island {
  readonly mirror: TestMirror;
  readonly image: Image;
  readonly signature: Image;
  /** Has the same content as the registry that filled the store, and is configured; nobody may dial it. */
  readonly forbidden: FakeRegistry;
  readonly ask: Ask;
}

/** A mirror that is set offline, over a store that was filled before. */
async function startIsland(t: ExecutionContext): Promise<Island> {
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  const signature = buildArtifact({
    seed: 'signature',
    artifactType: 'application/example.signature',
    subject: image.manifest,
  });
  const storePath = await createTempFolder(t);
  await fill(t, storePath, [image, signature]);
  const forbidden = await FakeRegistry.start(t);
  forbidden.addImage('library/app', 'latest', image);
  forbidden.addImage('library/other', 'latest', image);
  const mirror = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { 'hub.example': { url: forbidden.url, tags: { ttlMs: 0 } } },
  });
  dials.allow(mirror.url);
  const ask: Ask = async (path, options) => get(`${mirror.url}${path}`, options);
  return { mirror, image, signature, forbidden, ask };
}

async function fill(
  t: ExecutionContext,
  storePath: string,
  [image, signature]: readonly [Image, Image],
): Promise<void> {
  const registry = await FakeRegistry.start(t);
  registry.addImage('library/app', 'latest', image);
  registry.addImage('library/app', undefined, signature);
  const mirror = await startMirror(t, {
    storePath,
    upstreams: { 'hub.example': { url: registry.url } },
  });
  dials.allow(registry.url);
  dials.allow(mirror.url);
  await get(`${mirror.url}/v2/library/app/manifests/latest`);
  await get(`${mirror.url}/v2/library/app/manifests/${signature.manifest.digest}`);
  for (const { digest } of image.blobs) await get(`${mirror.url}/v2/library/app/blobs/${digest}`);
  await mirror.stop();
  await registry.refuse();
}

function assertNoDial(t: ExecutionContext, { forbidden }: Island): void {
  t.is(forbidden.connections, 0);
  t.deepEqual(forbidden.conversation(), []);
  t.true(dials.count > 0, 'the watch sees what the test dials');
  t.deepEqual(dials.foreign(), []);
}

test('offline, no question for a list ends the process', async (t) => {
  const { ask, image } = await startIsland(t);
  await ask('/v2/library/app/tags/list');
  await ask('/v2/library/never/tags/list');
  await ask(`/v2/library/app/referrers/${image.manifest.digest}`);
  t.deepEqual(unhandled, []);
});

test('offline, what is held is served without a dial', async (t) => {
  const island = await startIsland(t);
  const { ask, image } = island;
  const byTag = await ask('/v2/library/app/manifests/latest');
  t.like(told(byTag), { status: 200, cache: 'entrepot; hit; detail=stale' });
  t.is(byTag.headers.warning, staleWarning(OFFLINE));
  t.deepEqual(byTag.body, image.manifest.bytes);
  const head = await ask('/v2/library/app/manifests/latest', { method: 'HEAD' });
  t.is(head.headers['docker-content-digest'], image.manifest.digest);
  const byDigest = await ask(`/v2/library/app/manifests/${image.manifest.digest}`);
  t.deepEqual(byDigest.body, image.manifest.bytes);
  for (const { digest, bytes, size } of image.blobs) {
    t.deepEqual((await ask(`/v2/library/app/blobs/${digest}`)).body, bytes);
    const stat = await ask(`/v2/library/app/blobs/${digest}`, { method: 'HEAD' });
    t.is(stat.headers['content-length'], String(size));
  }
  assertNoDial(t, island);
});

test('offline, what is not held is 504 and says why, without a dial', async (t) => {
  const island = await startIsland(t);
  const { digest } = buildImage({ seed: 'never seen', layers: [1] }).manifest;
  const paths = [
    '/v2/library/app/manifests/never',
    `/v2/library/app/manifests/${digest}`,
    `/v2/library/app/blobs/${digest}`,
    '/v2/library/never/manifests/latest',
    '/v2/library/never/tags/list',
  ];
  for (const path of paths) {
    t.deepEqual(refusalOf(await island.ask(path)), REFUSAL, path);
    t.is((await island.ask(path, { method: 'HEAD' })).status, 504, path);
  }
  assertNoDial(t, island);
});

test('offline, a blob of another repository is not given away', async (t) => {
  const island = await startIsland(t);
  const { digest } = island.image.layer(0);
  t.deepEqual(refusalOf(await island.ask(`/v2/library/other/blobs/${digest}`)), REFUSAL);
  const manifest = `/v2/library/other/manifests/${island.image.manifest.digest}`;
  t.deepEqual(refusalOf(await island.ask(manifest)), REFUSAL);
  assertNoDial(t, island);
});

test('offline, the tags of a held repository are those that are held', async (t) => {
  const island = await startIsland(t);
  const answer = await island.ask('/v2/library/app/tags/list');
  t.is(answer.status, 200);
  t.is(answer.headers['cache-status'], 'entrepot; hit; detail=stale');
  t.deepEqual(JSON.parse(answer.body.toString()), { name: 'library/app', tags: ['latest'] });
  assertNoDial(t, island);
});

test('offline, the referrers of a held image are those that are held', async (t) => {
  const island = await startIsland(t);
  const { image, signature } = island;
  const answer = await island.ask(`/v2/library/app/referrers/${image.manifest.digest}`);
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], MEDIA_TYPES.index);
  const { manifests } = JSON.parse(answer.body.toString()) as { manifests: object[] };
  t.deepEqual(manifests, [
    {
      mediaType: MEDIA_TYPES.manifest,
      digest: signature.manifest.digest,
      size: signature.manifest.size,
      artifactType: 'application/example.signature',
    },
  ]);
  assertNoDial(t, island);
});

test('offline, a held image without referrers has an empty list of them', async (t) => {
  const island = await startIsland(t);
  const answer = await island.ask(`/v2/library/app/referrers/${island.signature.manifest.digest}`);
  t.is(answer.status, 200);
  t.deepEqual(JSON.parse(answer.body.toString()), {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [],
  });
  assertNoDial(t, island);
});

test('offline, an empty list of what was never seen is no hit, for clients and metrics alike', async (t) => {
  const island = await startIsland(t);
  const { digest } = buildImage({ seed: 'never seen', layers: [1] }).manifest;
  const { adminUrl } = island.mirror.server;
  dials.allow(adminUrl);
  for (const repository of ['library/app', 'library/never']) {
    const answer = await island.ask(`/v2/${repository}/referrers/${digest}`);
    t.is(answer.status, 200, repository);
    t.is(answer.headers['cache-status'], 'entrepot; fwd=miss', repository);
    t.is(answer.headers['warning'], staleWarning(OFFLINE), repository);
  }
  const held = await island.ask(`/v2/library/app/referrers/${island.image.manifest.digest}`);
  t.is(held.headers['cache-status'], 'entrepot; hit; detail=stale');
  const metrics = (await get(`${adminUrl}/metrics`)).body.toString();
  const counts = metrics.match(/entrepot_cache_requests_total\{.*referrers.*/g);
  t.deepEqual(counts, [
    'entrepot_cache_requests_total{upstream="hub.example",kind="referrers",method="GET",result="miss"} 2',
    'entrepot_cache_requests_total{upstream="hub.example",kind="referrers",method="GET",result="stale"} 1',
  ]);
  assertNoDial(t, island);
});

test('offline, the mirror is up and ready', async (t) => {
  const island = await startIsland(t);
  const { adminUrl } = island.mirror.server;
  dials.allow(adminUrl);
  t.is((await island.ask('/v2/')).status, 200);
  t.is((await get(`${adminUrl}/healthz`)).status, 200);
  t.is((await get(`${adminUrl}/readyz`)).status, 200);
  assertNoDial(t, island);
});

test('a mirror that is not offline starts, and stops, without a dial', async (t) => {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, { upstreams: { 'hub.example': { url: registry.url } } });
  dials.allow(mirror.url);
  t.is((await get(`${mirror.url}/v2/`)).status, 200);
  await mirror.stop();
  t.is(registry.connections, 0);
  t.deepEqual(dials.foreign(), []);
});
