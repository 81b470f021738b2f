import test from 'ava';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { HOUR } from '../helpers/clock.ts';
import {
  buildArtifact,
  buildImage,
  fallbackIndex,
  fallbackTag,
  MEDIA_TYPES,
  referrerDescriptor,
  type Image,
} from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import { REPOSITORY, UPSTREAM, refusalOf, startScene } from '../helpers/scene.ts';

const SIGNATURE = 'application/example.signature';
const SBOM = 'application/example.sbom';

function artifact(seed: string, artifactType: string, subject: Image): Image {
  return buildArtifact({ seed, artifactType, subject: subject.manifest });
}

function pathOf(image: Image): string {
  return `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
}

function indexOf(...images: readonly Image[]): object {
  const manifests = images
    .map(({ manifest }) => referrerDescriptor(manifest))
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
}

function json(answer: ClientAnswer): unknown {
  return JSON.parse(answer.body.toString());
}

test('what the API lists and what the fallback tag lists are one list, each once', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const [both, api, tagged] = [
    artifact('both', SIGNATURE, image),
    artifact('api', SBOM, image),
    artifact('tagged', SBOM, image),
  ];
  for (const referrer of [both, api]) registry.addImage(REPOSITORY, undefined, referrer);
  registry.addManifest(REPOSITORY, fallbackIndex([both, tagged]), {
    tags: [fallbackTag(image.manifest.digest)],
  });
  t.deepEqual(json(await ask(pathOf(image))), indexOf(both, api, tagged));
});

test('the list of the API is enough when the fallback tag cannot be asked', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const signature = artifact('signature', SIGNATURE, image);
  registry.addImage(REPOSITORY, undefined, signature);
  registry.status(/manifests\/sha256-/, 500, { times: Infinity });
  t.deepEqual(json(await ask(pathOf(image))), indexOf(signature));
});

test('a registry without the API is not asked for it again, of that repository and for hours', async (t) => {
  const { registry, image, ask, clock } = await startScene(t, { registry: { referrers: 'none' } });
  const other = buildImage({ seed: 'other', layers: [1] });
  registry.addImage('team/app', 'latest', other, { name: 'other' });
  const probe = `GET /v2/${REPOSITORY}/referrers/<app>`;
  const tag = `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`;
  await ask(pathOf(image));
  await ask(pathOf(image));
  t.deepEqual(registry.conversation(), [probe, tag, tag]);
  registry.clear();
  await ask(`/v2/team/app/referrers/${other.manifest.digest}`);
  t.deepEqual(registry.conversation(), [
    'GET /v2/team/app/referrers/<other>',
    'HEAD /v2/team/app/manifests/<sha256-other>',
  ]);
  registry.clear();
  clock.advance(6 * HOUR);
  await ask(pathOf(image));
  t.deepEqual(registry.conversation(), [probe, tag]);
});

test('that a repository is not there says nothing of the referrers of the one beside it', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const signature = artifact('signature', SIGNATURE, image);
  registry.addImage(REPOSITORY, undefined, signature);
  const [namespace] = REPOSITORY.split('/');
  await ask(`/v2/${namespace}/absent/referrers/${image.manifest.digest}`);
  t.deepEqual(json(await ask(pathOf(image))), indexOf(signature));
});

test('where a registry has no API, held referrers are told beside its tag, also within its ttl', async (t) => {
  const { registry, image, ask, manifest } = await startScene(t, {
    registry: { referrers: 'none' },
    tags: { ttlMs: HOUR },
  });
  const [tagged, held, other] = ['tagged', 'held', 'other'].map((seed) =>
    artifact(seed, SBOM, image),
  );
  for (const each of [tagged!, held!, other!]) registry.addImage(REPOSITORY, undefined, each);
  await manifest(image.manifest.digest);
  t.deepEqual(json(await ask(pathOf(image))), indexOf());
  t.is((await manifest(held!.manifest.digest)).status, 200);
  t.deepEqual(json(await ask(pathOf(image))), indexOf(held!));
  const fallback = `sha256-${image.manifest.digest.slice('sha256:'.length)}`;
  t.is((await manifest(fallback)).status, 200, 'made of what is held');
  await registry.refuse();
  t.deepEqual(json(await ask(pathOf(image))), indexOf(held!));
});

test('where a registry has the API, what it no longer lists is not told', async (t) => {
  const { registry, image, ask, manifest } = await startScene(t);
  const removed = artifact('removed', SBOM, image);
  registry.addImage(REPOSITORY, undefined, removed);
  t.is((await manifest(removed.manifest.digest)).status, 200);
  registry.remove(removed.manifest);
  t.deepEqual(json(await ask(pathOf(image))), indexOf());
});

test('referrers of referrers are found and held: all of it is there when the upstream is gone', async (t) => {
  const { registry, image, ask, manifest, blob, mirror } = await startScene(t);
  const sbom = artifact('sbom', SBOM, image);
  const signature = artifact('signature of the sbom', SIGNATURE, sbom);
  for (const referrer of [sbom, signature]) registry.addImage(REPOSITORY, undefined, referrer);
  t.deepEqual(json(await ask(pathOf(image))), indexOf(sbom));
  t.deepEqual(json(await ask(pathOf(sbom))), indexOf(signature));
  for (const { manifest: stored, blobs } of [image, sbom, signature]) {
    t.deepEqual((await manifest(stored.digest)).body, stored.bytes);
    for (const part of blobs) t.deepEqual((await blob(part)).body, part.bytes);
  }
  const { storePath } = mirror;
  await mirror.stop();
  const island = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  registry.clear();
  t.deepEqual(json(await get(island.url + pathOf(image))), indexOf(sbom));
  t.deepEqual(json(await get(island.url + pathOf(sbom))), indexOf(signature));
  const path = `${island.url}/v2/${REPOSITORY}/manifests/${signature.manifest.digest}`;
  t.deepEqual((await get(path)).body, signature.manifest.bytes);
  t.deepEqual(registry.conversation(), []);
});

test('cosign tags are tags like others, held and served offline', async (t) => {
  const { registry, image, manifest, mirror } = await startScene(t);
  const signature = buildImage({ seed: 'cosign', layers: [10] });
  const base = image.manifest.digest.replace(':', '-');
  for (const kind of ['sig', 'att', 'sbom']) {
    registry.addImage(REPOSITORY, `${base}.${kind}`, signature);
    t.is((await manifest(`${base}.${kind}`)).status, 200);
  }
  const { storePath } = mirror;
  await mirror.stop();
  const island = await startMirror(t, {
    storePath,
    offline: true,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  for (const kind of ['sig', 'att', 'sbom']) {
    const answer = await get(`${island.url}/v2/${REPOSITORY}/manifests/${base}.${kind}`);
    t.deepEqual(answer.body, signature.manifest.bytes);
  }
});

test('a fallback tag that the registry does not have is made from its referrers', async (t) => {
  const { registry, image, manifest, mirror, ask } = await startScene(t);
  const signature = artifact('signature', SIGNATURE, image);
  const sbom = artifact('sbom', SBOM, image);
  for (const referrer of [signature, sbom]) registry.addImage(REPOSITORY, undefined, referrer);
  const tag = fallbackTag(image.manifest.digest);
  const head = await manifest(tag, { method: 'HEAD' });
  const answer = await manifest(tag);
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], MEDIA_TYPES.index);
  t.deepEqual(json(answer), indexOf(signature, sbom));
  t.is(head.headers['docker-content-digest'], answer.headers['docker-content-digest']);
  const digest = String(answer.headers['docker-content-digest']);
  t.deepEqual((await manifest(digest)).body, answer.body, 'clients fetch by the digest they saw');
  t.deepEqual((await ask(pathOf(image))).status, 200);
  await registry.refuse();
  t.deepEqual((await manifest(tag)).body, answer.body, 'from what is held or was listed');
  await mirror.idle();
});

test('a fallback tag without referrers is 404 as the upstream says, and a fault stays a fault', async (t) => {
  const { registry, image, manifest } = await startScene(t);
  const tag = fallbackTag(image.manifest.digest);
  t.like(refusalOf(await manifest(tag)), { status: 404, code: 'MANIFEST_UNKNOWN' });
  registry.status(/./, 403, { times: Infinity });
  t.like(refusalOf(await manifest(tag)), { status: 403, code: 'DENIED' });
});

test('a list too long for one answer comes in pages, filtered, and none is lost', async (t) => {
  const { registry, image, ask } = await startScene(t);
  const subject = image.manifest.digest;
  const entries = Array.from({ length: 2_500 }, (_, number) => ({
    mediaType: MEDIA_TYPES.manifest,
    digest: `sha256:${number.toString(16).padStart(64, '0')}`,
    size: 1,
    artifactType: number % 2 === 0 ? SIGNATURE : SBOM,
  }));
  const body = JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: entries,
  });
  registry.status(`/v2/${REPOSITORY}/referrers/${subject}`, 200, {
    body,
    contentType: MEDIA_TYPES.index,
    times: Infinity,
  });
  const query = `?ns=${UPSTREAM}&artifactType=${encodeURIComponent(SIGNATURE)}`;
  const sizes: number[] = [];
  const seen = new Set<string>();
  let path: string | undefined = `${pathOf(image)}${query}`;
  while (path !== undefined) {
    const answer: ClientAnswer = await ask(path);
    t.is(answer.headers['oci-filters-applied'], 'artifactType');
    const { manifests } = json(answer) as { manifests: { digest: string; artifactType: string }[] };
    t.true(manifests.every(({ artifactType }) => artifactType === SIGNATURE));
    sizes.push(manifests.length);
    for (const { digest } of manifests) seen.add(digest);
    path = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1];
  }
  t.deepEqual(sizes, [1000, 250]);
  t.is(seen.size, 1250);
});
