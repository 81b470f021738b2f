import test from 'ava';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { get } from '../helpers/client.ts';
import { buildImage } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, idle, startScene } from '../helpers/scene.ts';

const HEAD = `HEAD /v2/${REPOSITORY}/manifests/latest`;
const GET = `GET /v2/${REPOSITORY}/manifests/latest`;
const byHead = { method: 'HEAD', times: Infinity } as const;

/** What a registry answers every HEAD of a manifest, and how often it hears one before a GET. */
const REFUSALS: [status: number, heads: number][] = [
  [400, 1],
  [403, 1],
  [405, 1],
  [501, 3],
];

for (const [status, heads] of REFUSALS) {
  test(`where HEAD of a manifest is ${status}, GET decides, and HEAD is asked again after an hour`, async (t) => {
    const { registry, manifest, image, clock } = await startScene(t, {
      tags: { ttlMs: MINUTE },
    });
    registry.status(/\/manifests\//, status, byHead);
    const head = await manifest('latest', { method: 'HEAD' });
    t.is(head.status, 200);
    t.is(head.headers['docker-content-digest'], image.manifest.digest);
    t.is(head.headers['content-length'], String(image.manifest.size));
    t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
    const lines = Array.from({ length: heads }, () => HEAD);
    t.deepEqual(registry.conversation(), [...lines, GET]);
    registry.clear();
    const moved = buildImage({ seed: 'moved', layers: [10] });
    registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
    clock.advance(2 * MINUTE);
    t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
    t.deepEqual(registry.conversation(), [GET]);
    registry.heal();
    registry.clear();
    clock.advance(HOUR);
    t.is((await manifest('latest')).status, 200);
    t.deepEqual(registry.conversation(), [HEAD]);
  });
}

test('a HEAD that is 404 says nothing of a tag, a digest or a listed blob that GET brings', async (t) => {
  const { registry, mirror, manifest, blob, ask, image } = await startScene(t, {
    tags: { negativeTtlMs: MINUTE },
  });
  registry.status(/^\/v2\/./, 404, byHead);
  const other = buildImage({ seed: 'other', layers: [image.layer(0)] });
  registry.addImage('library/other', 'v1', other, { name: 'other' });
  t.is((await blob(image.layer(0), { method: 'HEAD' })).status, 404);
  t.deepEqual((await blob(image.layer(0))).body, image.layer(0).bytes);
  await idle(mirror);
  t.is((await manifest('latest', { method: 'HEAD' })).status, 200);
  registry.clear();
  t.is((await ask('/v2/library/other/manifests/v1')).status, 200);
  const shared = await ask(`/v2/library/other/blobs/${image.layer(0).digest}`);
  t.deepEqual(shared.body, image.layer(0).bytes);
  const last = await ask(`/v2/library/other/blobs/${other.config.digest}`, { method: 'HEAD' });
  t.is(last.headers['content-length'], String(other.config.size));
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/other/manifests/v1',
    'GET /v2/library/other/manifests/v1',
    'HEAD /v2/library/other/blobs/<other.layer0>',
    'GET /v2/library/other/blobs/<other.layer0> bytes=0-0',
    'HEAD /v2/library/other/blobs/<other.config>',
    'GET /v2/library/other/blobs/<other.config> bytes=0-0',
  ]);
});

test('HEAD of a blob joins its running download, and asks nobody', async (t) => {
  const { registry, mirror, blob, image } = await startScene(t);
  const layer = image.layer(1);
  const gate = registry.hold(layer, { after: 500 });
  const pulling = blob(layer);
  await gate.arrived();
  const head = await blob(layer, { method: 'HEAD' });
  t.is(head.status, 200);
  t.is(head.headers['content-length'], String(layer.size));
  gate.open();
  t.deepEqual((await pulling).body, layer.bytes);
  await idle(mirror);
  t.deepEqual(registry.conversation(), [`GET /v2/${REPOSITORY}/blobs/<app.layer1>`]);
});

test('a digest that HEAD made up costs one failed pull at most: then GET is asked', async (t) => {
  const { registry, manifest, image } = await startScene(t);
  const madeUp = buildImage({ seed: 'made up', layers: [1] }).manifest;
  registry.name(madeUp.digest, 'made-up');
  const headers = {
    'Docker-Content-Digest': madeUp.digest,
    'Content-Type': madeUp.mediaType,
    'Content-Length': String(madeUp.size),
  };
  registry.status('latest', 200, { ...byHead, headers, body: '' });
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  const head = await manifest('latest', { method: 'HEAD' });
  t.is(head.headers['docker-content-digest'], image.manifest.digest);
  t.deepEqual(registry.conversation(), [
    HEAD,
    `GET /v2/${REPOSITORY}/manifests/<made-up>`,
    GET,
    GET,
  ]);
});

test('a tag that HEADs for ever say not to have moved is asked by GET once a day, and stays moved', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t, { tags: { ttlMs: MINUTE } });
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', moved, { name: 'moved' });
  const headers = {
    'Docker-Content-Digest': image.manifest.digest,
    'Content-Type': image.manifest.mediaType,
    'Content-Length': String(image.manifest.size),
  };
  registry.status('latest', 200, { ...byHead, headers, body: '' });
  registry.clear();
  clock.advance(24 * HOUR - 1);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD]);
  clock.advance(MINUTE);
  t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD, GET]);
  // The HEAD still says the old digest, which is held.
  for (const asked of [[HEAD, GET], [HEAD, GET], [GET]]) {
    registry.clear();
    clock.advance(MINUTE + 1);
    t.deepEqual((await manifest('latest')).body, moved.manifest.bytes);
    t.deepEqual(registry.conversation(), asked);
  }
  // And once the tag is moved back the GET says so too.
  registry.heal();
  registry.addImage(REPOSITORY, 'latest', image, { name: 'app' });
  registry.clear();
  clock.advance(HOUR);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  clock.advance(HOUR);
  t.deepEqual((await manifest('latest')).body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD, GET, HEAD]);
});

test('where pulls are counted, a tag that HEADs say not to have moved is asked by GET once a week', async (t) => {
  const { registry, manifest, clock } = await startScene(t, { tags: { ttlMs: MINUTE } });
  registry.rateLimit({ limit: 100, remaining: 80, window: 21_600 });
  await manifest('latest');
  registry.clear();
  for (let day = 1; day <= 8; day += 1) {
    clock.advance(24 * HOUR);
    await manifest('latest');
  }
  t.deepEqual(registry.conversation(), [...Array.from({ length: 6 }, () => HEAD), GET, HEAD]);
});

test('what is remembered of HEADs is asked once more after a restart', async (t) => {
  const storePath = await createTempFolder(t);
  const { registry, mirror, manifest, image, clock } = await startScene(t, { storePath });
  registry.status(/\/manifests\//, 405, byHead);
  await manifest('latest');
  await manifest('latest');
  t.deepEqual(registry.conversation(), [HEAD, GET, GET]);
  await mirror.stop();
  registry.clear();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const again = await startMirror(t, { storePath, clock, upstreams });
  const path = `${again.url}/v2/${REPOSITORY}/manifests/latest`;
  for (const method of ['HEAD', 'GET'] as const) {
    const { status, headers } = await get(path, { method });
    t.deepEqual([status, headers['docker-content-digest']], [200, image.manifest.digest]);
  }
  t.deepEqual(registry.conversation(), [HEAD, GET, GET]);
});

test('through a parent mirror GET decides all the same, and each of the two asks once', async (t) => {
  const { registry, mirror, image } = await startScene(t, { tags: { ttlMs: MINUTE } });
  registry.status(/\/manifests\//, 405, byHead);
  const child = await startMirror(t, { upstreams: { [UPSTREAM]: { url: mirror.url } } });
  const path = `${child.url}/v2/${REPOSITORY}/manifests/latest`;
  t.is(
    (await get(path, { method: 'HEAD' })).headers['docker-content-digest'],
    image.manifest.digest,
  );
  t.deepEqual((await get(path)).body, image.manifest.bytes);
  t.deepEqual(registry.conversation(), [HEAD, GET]);
});

test('HEAD of a blob between its last byte and its commit has its answer from it', async (t) => {
  const { registry, mirror, blob, image } = await startScene(t);
  const layer = image.layer(1);
  const { promise: committing, resolve: open } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const { catalog } = mirror.server;
  const record = catalog.recordBlob.bind(catalog);
  catalog.recordBlob = async (...args) => {
    arrive();
    await committing;
    return record(...args);
  };
  const pulling = blob(layer);
  await arrived;
  const head = await blob(layer, { method: 'HEAD' });
  t.deepEqual([head.status, head.headers['content-length']], [200, String(layer.size)]);
  open();
  t.deepEqual((await pulling).body, layer.bytes);
  await idle(mirror);
  t.deepEqual(registry.conversation(), [`GET /v2/${REPOSITORY}/blobs/<app.layer1>`]);
});
