import test from 'ava';
import { get, open } from '../helpers/client.ts';
import { Clock, HOUR } from '../helpers/clock.ts';
import { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';

test('a registry that refuses HEAD of blobs proves nothing by that', async (t) => {
  const registry = await FakeRegistry.start(t);
  const layer = registry.addBlob('team/private', buildBlob(1, 1000), { name: 'layer' });
  registry.addBlob('team/shared', layer);
  registry.addBlob('team/public', buildBlob(2, 10));
  const mirror = await startMirror(t, { upstreams: { 'reg.example': { url: registry.url } } });
  const path = (repository: string): string =>
    `${mirror.url}/v2/${repository}/blobs/${layer.digest}`;
  await get(path('team/private'));
  await mirror.idle();
  registry.clear();
  registry.status(/\/blobs\//, 405, { method: 'HEAD', times: Infinity });
  t.is((await get(path('team/public'))).status, 404);
  const shared = await get(path('team/shared'));
  t.true(shared.body.equals(layer.bytes));
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/team/public/blobs/<layer>',
    'GET /v2/team/public/blobs/<layer> bytes=0-0',
    'HEAD /v2/team/shared/blobs/<layer>',
    'GET /v2/team/shared/blobs/<layer> bytes=0-0',
  ]);
});

for (const status of [401, 403]) {
  test(`a manifest that lists a private blob opens it for nobody whom the upstream answers ${status}`, async (t) => {
    const registry = await FakeRegistry.start(t);
    const image = buildImage({ seed: status, layers: [1000] });
    registry.addImage('team/private', 'v1', image, { name: 'app' });
    registry.addManifest('team/public', image.manifest, { tags: ['v1'] });
    const mirror = await startMirror(t, { upstreams: { 'reg.example': { url: registry.url } } });
    const blob = `blobs/${image.layer(0).digest}`;
    await get(`${mirror.url}/v2/team/private/${blob}`);
    t.is((await get(`${mirror.url}/v2/team/public/manifests/v1`)).status, 200);
    await mirror.idle();
    registry.status(/team\/public\/blobs/, status, { times: Infinity });
    t.is((await get(`${mirror.url}/v2/team/public/${blob}`)).status, 403);
    // Silence is another matter: the image is held, and the link is gone.
    registry.heal();
    await registry.refuse();
    t.is((await get(`${mirror.url}/v2/team/public/${blob}`)).status, 200);
  });
}

test('a tag that moved after its HEAD, whose old manifest is gone, is answered anew', async (t) => {
  const registry = await FakeRegistry.start(t);
  const old = buildImage({ seed: 'old', layers: [10] });
  const moved = buildImage({ seed: 'moved', layers: [10] });
  registry.addImage('library/app', 'v1', old, { name: 'old' });
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url, tags: { ttlMs: 300_000 } } },
  });
  const url = `${mirror.url}/v2/library/app/manifests/v1`;
  await get(url, { method: 'HEAD' });
  registry.addImage('library/app', 'v1', moved, { name: 'moved' });
  registry.remove(old.manifest);
  t.true((await get(url)).body.equals(moved.manifest.bytes));
  t.deepEqual(registry.conversation(), [
    'HEAD /v2/library/app/manifests/v1',
    `GET /v2/library/app/manifests/<old>`,
    'GET /v2/library/app/manifests/v1',
  ]);
});

test('a long Retry-After of a failing registry does not hold the download that long', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(3, 2000), { name: 'layer' });
  registry.cut(blob, { after: 1000 });
  // Beyond what a timer can hold, which would fire at once and ask in a loop.
  registry.status(blob, 429, { headers: { 'Retry-After': '86400' } });
  const clock = new Clock();
  const mirror = await startMirror(t, {
    upstreams: { 'docker.io': { url: registry.url } },
    clock,
  });
  const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`;
  const client = await open(url);
  await t.throwsAsync(client.rest());
  registry.clear();
  const refused = await get(url);
  t.is(refused.status, 429);
  t.is(refused.headers['retry-after'], '3600');
  t.deepEqual(registry.conversation(), [], 'what asked for a pause is left alone');
  clock.advance(HOUR);
  t.true((await get(url)).body.equals(blob.bytes));
});

test('an answer that is cut in its body is told to the operator, with the bytes that went out', async (t) => {
  const registry = await FakeRegistry.start(t);
  const blob = registry.addBlob('library/app', buildBlob(4, 300_000));
  registry.corrupt(blob, { at: 5 });
  const mirror = await startMirror(t, { upstreams: { 'docker.io': { url: registry.url } } });
  await t.throwsAsync(get(`${mirror.url}/v2/library/app/blobs/${blob.digest}`));
  await mirror.idle();
  const line = mirror.log.find(({ msg, kind }) => msg === 'request' && kind === 'blob');
  t.is(line?.['level'], 'warn');
  t.true(line?.['cut']);
  t.is(line?.['bytes'], 299_999);
});
