import test from 'ava';
import type { ClientAnswer } from '../../helpers/client.ts';
import { SECOND } from '../../helpers/clock.ts';
import type { FakeRegistry } from '../../helpers/fake-registry.ts';
import { FAMILIES } from '../../helpers/families/all.ts';
import {
  LIST,
  TAGS,
  heard,
  spoken,
  startFamily,
  usualLogin,
  type Family,
} from '../../helpers/family.ts';
import {
  MEDIA_TYPES,
  buildArtifact,
  fallbackIndex,
  fallbackTag,
  referrerDescriptor,
} from '../../helpers/image.ts';
import { REPOSITORY, UPSTREAM, staleWarning, type Scene } from '../../helpers/scene.ts';

function json({ body }: ClientAnswer): unknown {
  return JSON.parse(body.toString());
}

/** From now on nothing but 429: a fault that is believed at once. */
function limit(registry: FakeRegistry): void {
  registry.status(/^\/v2\//, 429, { times: Infinity, body: '' });
}

// Tags

for (const family of FAMILIES) {
  const login = usualLogin(family);

  test(`${family.name}: the pages of 1200 tags are joined`, async (t) => {
    const { registry, image, ask, clock } = await startFamily(t, family, login);
    registry.untag(REPOSITORY, 'latest');
    for (const tag of TAGS) registry.tag(REPOSITORY, tag, image.manifest);
    const answer = await ask(LIST);
    t.is(answer.status, 200);
    t.deepEqual(json(answer), { name: REPOSITORY, tags: TAGS });
    t.deepEqual(
      spoken(registry),
      heard(family, login, [`GET ${LIST}?n=1000`, ...family.tagPages.map((page) => `GET ${page}`)]),
    );
    limit(registry);
    clock.advance(SECOND);
    const stale = await ask(LIST);
    t.deepEqual(json(stale), { name: REPOSITORY, tags: TAGS });
    t.is(
      stale.headers['warning'],
      staleWarning(`${UPSTREAM}: ${registry.host} limits the rate of requests (429)`),
    );
  });

  test(`${family.name}: a repository without tags says null, and clients hear of an empty list`, async (t) => {
    const { registry, ask } = await startFamily(t, family, login);
    registry.untag(REPOSITORY, 'latest');
    const answer = await ask(LIST);
    t.is(answer.status, 200);
    t.deepEqual(json(answer), { name: REPOSITORY, tags: [] });
    t.deepEqual(spoken(registry), heard(family, login, [`GET ${LIST}?n=1000`]));
  });
}

// Referrers

const SIGNATURE = 'application/vnd.dev.cosign.artifact.sig.v1+json';

function sign(family: Family, { registry, image }: Scene): object {
  const subject = image.manifest;
  const signature = buildArtifact({ seed: 'signature', artifactType: SIGNATURE, subject });
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  if (family.referrers === 'tag') {
    const tags = [fallbackTag(subject.digest)];
    registry.addManifest(REPOSITORY, fallbackIndex([signature]), { tags, name: 'list' });
  }
  return referrerDescriptor(signature.manifest);
}

for (const family of FAMILIES) {
  const login = usualLogin(family);

  test(`${family.name}: a signature is found by its ${family.referrers === 'api' ? 'referrers API' : 'fallback tag'}`, async (t) => {
    const scene = await startFamily(t, family, login);
    const { registry, image, ask } = scene;
    const path = `/v2/${REPOSITORY}/referrers/${image.manifest.digest}`;
    const signature = sign(family, scene);
    const answer = await ask(path);
    t.is(answer.status, 200);
    t.is(answer.headers['content-type'], MEDIA_TYPES.index);
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [signature] };
    t.deepEqual(json(answer), index);
    const asked = [
      `GET /v2/${REPOSITORY}/referrers/<app>`,
      ...(family.registry.referrers === 'html' ? ['GET /sign-in'] : []),
      `HEAD /v2/${REPOSITORY}/manifests/<sha256-app>`,
      ...(family.referrers === 'tag' ? [`GET /v2/${REPOSITORY}/manifests/<sha256-app>`] : []),
    ];
    t.deepEqual(spoken(registry), heard(family, login, asked));
    registry.clear();
    t.is((await ask(path)).status, 200);
    // That there is no API is remembered; a sign-in page may be a portal's, and proves nothing.
    const again = family.registry.referrers === 'none' ? asked.slice(1) : asked;
    t.deepEqual(spoken(registry), heard(family, login, again, { isKnown: true }));
    limit(registry);
    const stale = await ask(path);
    t.deepEqual(json(stale), index);
    t.is(
      stale.headers['warning'],
      staleWarning(`${UPSTREAM}: ${registry.host} limits the rate of requests (429)`),
    );
  });

  test(`${family.name}: a subject that is not there has no referrers`, async (t) => {
    const { ask } = await startFamily(t, family, login);
    const answer = await ask(`/v2/${REPOSITORY}/referrers/sha256:${'0'.repeat(64)}`);
    t.is(answer.status, 200);
    t.deepEqual(json(answer), { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [] });
  });

  test(`${family.name}: a subject that is not there hides no signature of another one`, async (t) => {
    const scene = await startFamily(t, family, login);
    const signature = sign(family, scene);
    await scene.ask(`/v2/${REPOSITORY}/referrers/sha256:${'0'.repeat(64)}`);
    const answer = await scene.ask(`/v2/${REPOSITORY}/referrers/${scene.image.manifest.digest}`);
    t.like(json(answer), { manifests: [signature] });
  });
}
