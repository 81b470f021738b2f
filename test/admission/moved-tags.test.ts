import test, { type ExecutionContext } from 'ava';
import type { CollectionReport } from '../../src/api/store-api.ts';
import { get, type ClientAnswer, type GetOptions } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import { buildImage, type Image } from '../helpers/image.ts';
import { createTempFolder, startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, told } from '../helpers/scene.ts';
import { MIN_AGE, startAged, type Aged } from './aged.ts';
import { messageOf } from './guarded.ts';

type Manifest = (reference: string, options?: GetOptions) => Promise<ClientAnswer>;

/** What GET and HEAD say that the tag is; both say the same. */
async function means(t: ExecutionContext, manifest: Manifest, tag = 'latest'): Promise<unknown> {
  const [got, looked] = [await manifest(tag), await manifest(tag, { method: 'HEAD' })];
  t.is(got.status, looked.status);
  t.is(got.headers['docker-content-digest'], looked.headers['docker-content-digest']);
  return got.status === 200 ? got.headers['docker-content-digest'] : got.status;
}

/** The tag of the scene's image has come of age, and has moved. */
async function startMoved(t: ExecutionContext, options = {}): Promise<Aged & { next: Image }> {
  const scene = await startAged(t, options);
  const { registry, image, manifest, clock } = scene;
  t.is((await manifest('latest')).status, 403);
  clock.advance(MIN_AGE);
  t.is(await means(t, manifest), image.manifest.digest);
  const next = buildImage({ seed: 'next', layers: [1500] });
  registry.addImage(REPOSITORY, 'latest', next, { name: 'next' });
  clock.advance(HOUR);
  return { ...scene, next };
}

test('a tag that moved serves what it last had admitted until the new one is old enough, and says so', async (t) => {
  const { image, next, manifest, blob, clock } = await startMoved(t);
  const { digest } = next.manifest;
  t.is(await means(t, manifest), image.manifest.digest);
  const answer = await manifest('latest');
  const { warning, ...rest } = told(answer);
  t.deepEqual(rest, { status: 200, cache: 'entrepot; hit; detail=stale' });
  t.regex(
    String(warning),
    new RegExp(`the tag has moved to ${digest}, which may not be pulled yet`),
  );
  t.deepEqual(answer.body, image.manifest.bytes);
  t.is((await manifest(digest)).status, 403);
  t.is((await blob(next.layer(0))).status, 403);
  clock.advance(MIN_AGE - 1);
  t.is(await means(t, manifest), image.manifest.digest);
  clock.advance(1);
  t.is(await means(t, manifest), digest);
  t.is((await blob(next.layer(0))).status, 200);
});

test('it does so offline, and after a restart', async (t) => {
  const storePath = await createTempFolder(t);
  const { registry, mirror, image, next, manifest, clock, admission } = await startMoved(t, {
    storePath,
  });
  t.is(await means(t, manifest), image.manifest.digest);
  await mirror.idle();
  await mirror.stop();
  await registry.refuse();
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const again = await startMirror(t, { upstreams, storePath, admission, clock, offline: true });
  const ask: Manifest = async (reference, options) =>
    get(`${again.url}/v2/${REPOSITORY}/manifests/${reference}`, options);
  t.is(await means(t, ask), image.manifest.digest);
  clock.advance(MIN_AGE);
  t.is(await means(t, ask), next.manifest.digest);
});

test('what was too young for as long as the tag meant it is never served by the tag', async (t) => {
  const { registry, image, next, manifest, clock } = await startMoved(t);
  t.is(await means(t, manifest), image.manifest.digest);
  clock.advance(HOUR);
  const third = buildImage({ seed: 'third', layers: [10] });
  registry.addImage(REPOSITORY, 'latest', third);
  clock.advance(MIN_AGE - HOUR);
  t.is(await means(t, manifest), image.manifest.digest);
  // By digest it has come of age.
  t.is(await means(t, manifest, next.manifest.digest), next.manifest.digest);
  clock.advance(MIN_AGE);
  t.is(await means(t, manifest), third.manifest.digest);
});

test('a tag that moves to what is old enough means it at once, and one without an admitted digest is told the hour', async (t) => {
  const { registry, image, next, manifest, clock } = await startMoved(t);
  t.is(await means(t, manifest), image.manifest.digest);
  registry.addImage(REPOSITORY, 'other', next);
  t.regex(messageOf(await manifest('other')), /passes at 2030-01-05T01:00Z/);
  registry.addImage(REPOSITORY, 'other', image);
  clock.advance(HOUR);
  t.is(await means(t, manifest, 'other'), image.manifest.digest);
});

test('nobody has to have pulled by the tag: what it meant, old enough, when the upstream last said so counts', async (t) => {
  const { registry, mirror, image, manifest, clock } = await startAged(t);
  t.is((await manifest('latest')).status, 403);
  clock.advance(MIN_AGE);
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ image: `${UPSTREAM}/${REPOSITORY}:latest` });
  await get(`${mirror.server.adminUrl}/api/v1/refresh`, { method: 'POST', headers, body });
  registry.addImage(REPOSITORY, 'latest', buildImage({ seed: 'next', layers: [1500] }));
  clock.advance(HOUR);
  t.is(await means(t, manifest), image.manifest.digest);
});

test('what was last admitted and may not be pulled any more is not served instead', async (t) => {
  const scene = await startMoved(t);
  const { registry, mirror, manifest, admission } = scene;
  t.is((await manifest('latest')).status, 200);
  const [rule] = admission.rules;
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const rules = [{ ...rule!, minAge: 200 * HOUR }];
  await mirror.reload({ upstreams, admission: { ...admission, rules } });
  t.regex(messageOf(await manifest('latest')), /passes at 2030-01-11T09:00Z/);
});

test('what was last admitted is not evicted until the new one is old enough', async (t) => {
  const { mirror, image, next, manifest, clock } = await startMoved(t);
  t.is(await means(t, manifest), image.manifest.digest);
  const collect = async (): Promise<CollectionReport> => {
    await mirror.idle();
    const { body } = await get(`${mirror.server.adminUrl}/api/v1/gc`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ bytes: 1_000_000_000 }),
    });
    return JSON.parse(String(body)) as CollectionReport;
  };
  const { images, kept } = await collect();
  t.deepEqual(images, []);
  t.deepEqual(Object.fromEntries(kept.map(({ digest, why }) => [digest, why])), {
    [image.manifest.digest]:
      'it was last admitted by the tag latest, which has moved to one that is too young',
    [next.manifest.digest]: 'the tag latest has moved to it, and it is too young',
  });
  t.is(await means(t, manifest), image.manifest.digest);
  clock.advance(MIN_AGE);
  t.is((await collect()).images.length, 2);
});
