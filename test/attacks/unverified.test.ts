import test from 'ava';
import type { ClientAnswer } from '../helpers/client.ts';
import { get, open } from '../helpers/client.ts';
import { buildBlob } from '../helpers/image.ts';
import { REPOSITORY, startScene, type Scene } from '../helpers/scene.ts';

// A cache behind the mirror keeps what it is told to keep, for a year: nothing that may be wrong.

const MIB = 1024 * 1024;

function validators({ headers }: Pick<ClientAnswer, 'headers'>): (string | undefined)[] {
  return [headers['cache-control'], headers.etag];
}

function held(digest: string): string[] {
  return ['max-age=31536000, immutable', `"${digest}"`];
}

async function createBlob(scene: Scene, seed: string) {
  const blob = scene.registry.addBlob(REPOSITORY, buildBlob(seed, 2 * MIB));
  const url = `${scene.mirror.url}/v2/${REPOSITORY}/blobs/${blob.digest}`;
  return { ...blob, url };
}

test('a range, several ranges and the whole of a blob on its way may not be kept; held, they may', async (t) => {
  const scene = await startScene(t);
  const blob = await createBlob(scene, 'growing');
  const gate = scene.registry.hold(blob, { after: MIB });
  const whole = await open(blob.url);
  t.deepEqual(validators(whole), ['no-store', undefined]);
  for (const Range of ['bytes=5-9', 'bytes=5-9,100-109']) {
    const answer = await get(blob.url, { headers: { Range } });
    t.is(answer.status, 206);
    t.deepEqual(validators(answer), ['no-store', undefined], Range);
  }
  // With a validator from before, the parts would be put together.
  const headers = { Range: 'bytes=5-9', 'If-Range': `"${blob.digest}"` };
  const condition = await open(blob.url, { headers });
  t.is(condition.status, 200);
  condition.destroy();
  t.deepEqual(validators(await get(blob.url, { method: 'HEAD' })), ['no-store', undefined]);
  gate.open();
  t.true((await whole.rest()).equals(blob.bytes));
  await scene.mirror.idle();
  for (const options of [{ method: 'HEAD' }, {}, { headers: { Range: 'bytes=5-9' } }]) {
    t.deepEqual(validators(await get(blob.url, options)), held(blob.digest));
  }
});

test('what finds no room in the store is passed on and may not be kept', async (t) => {
  const scene = await startScene(t, { store: { maxBytes: MIB } });
  const blob = await createBlob(scene, 'large');
  for (const options of [{}, { headers: { Range: 'bytes=5-9' } }, {}]) {
    const answer = await get(blob.url, options);
    t.deepEqual(validators(answer), ['no-store', undefined]);
  }
});

test('what only a HEAD of the upstream has told may not be kept', async (t) => {
  const scene = await startScene(t);
  const { image, blob, manifest } = scene;
  const { digest } = image.manifest;
  const head = { method: 'HEAD' };
  t.deepEqual(validators(await blob(image.layer(0), head)), ['no-store', undefined]);
  t.deepEqual(validators(await manifest('latest', head)), ['no-store', undefined]);
  t.deepEqual(validators(await manifest(digest, head)), ['no-store', undefined]);
  t.deepEqual(validators(await manifest(digest)), held(digest));
  t.deepEqual(validators(await manifest(digest, head)), held(digest));
  t.deepEqual(validators(await manifest('latest', head)), ['no-cache', `"${digest}"`]);
});

test('what is not verified meets no condition of a client, and does once it is', async (t) => {
  const scene = await startScene(t);
  const blob = await createBlob(scene, 'growing');
  const { image, manifest } = scene;
  const conditions = (digest: string) => [`"${digest}"`, '*'];
  const gate = scene.registry.hold(blob, { after: MIB });
  const whole = await open(blob.url);
  for (const condition of conditions(blob.digest)) {
    const headers = { 'If-None-Match': condition };
    t.is((await get(blob.url, { method: 'HEAD', headers })).status, 200);
    const growing = await open(blob.url, { headers });
    t.is(growing.status, 200);
    growing.destroy();
  }
  gate.open();
  await whole.rest();
  await scene.mirror.idle();
  for (const condition of conditions(blob.digest)) {
    t.is((await get(blob.url, { headers: { 'If-None-Match': condition } })).status, 304);
  }
  for (const condition of conditions(image.manifest.digest)) {
    const request = { method: 'HEAD', headers: { 'If-None-Match': condition } };
    t.is((await manifest('latest', request)).status, 200, 'only announced');
  }
  t.is((await manifest('latest')).status, 200);
  for (const condition of conditions(image.manifest.digest)) {
    const request = { method: 'HEAD', headers: { 'If-None-Match': condition } };
    t.is((await manifest('latest', request)).status, 304);
  }
});
