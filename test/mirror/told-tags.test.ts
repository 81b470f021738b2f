/** What an upstream said of its tags, for the time when it cannot be asked. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { cosignTags, fallbackTag } from '../../src/oci/cosign.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { get, type ClientAnswer } from '../helpers/client.ts';
import { HOUR, MINUTE } from '../helpers/clock.ts';
import { buildArtifact, buildImage } from '../helpers/image.ts';
import { startMirror } from '../helpers/mirror.ts';
import {
  idle,
  refusalOf,
  REPOSITORY,
  startScene,
  staleWarning,
  told,
  UPSTREAM,
  type Scene,
} from '../helpers/scene.ts';
import { until } from '../helpers/until.ts';

const LIST = `/v2/${REPOSITORY}/tags/list`;
const METHODS = ['GET', 'HEAD'] as const;
const OFFLINE = `${UPSTREAM}: this mirror is set offline and asks no upstream`;

function tagsOf({ body }: ClientAnswer): readonly string[] {
  return (JSON.parse(body.toString()) as { tags: string[] }).tags;
}

/** The mirror of the scene again, on its store. */
async function restart(
  t: ExecutionContext,
  { mirror, registry, clock }: Scene,
  options: { offline?: boolean; pins?: string[] } = {},
) {
  await mirror.stop();
  const { offline = false, pins = [] } = options;
  const again = await startMirror(t, {
    clock,
    storePath: mirror.storePath,
    store: { pins },
    offline,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  return {
    mirror: again,
    manifest: async (reference: string, method: 'GET' | 'HEAD' = 'GET') =>
      get(`${again.url}/v2/${REPOSITORY}/manifests/${reference}`, { method }),
    list: async (query = '') => get(`${again.url}${LIST}${query}`),
  };
}

for (const offline of [false, true]) {
  const state = offline ? 'offline' : 'while the upstream is down';

  test(`${state}, a tag that is not in its last list is 404, also after a restart; the held are served`, async (t) => {
    const scene = await startScene(t);
    const { registry, image, ask, manifest } = scene;
    registry.tag(REPOSITORY, 'unheld', image.manifest);
    await manifest('latest');
    t.deepEqual(tagsOf(await ask(LIST)), ['latest', 'unheld']);
    // The list is believed of no tag while its registry answers.
    registry.tag(REPOSITORY, 'later', image.manifest);
    t.is((await manifest('later')).status, 200);
    t.is((await manifest('never')).status, 404);
    await registry.refuse();
    const reason = offline
      ? OFFLINE
      : `${UPSTREAM}: no connection to ${registry.host} (ECONNREFUSED)`;
    const again = await restart(t, scene, { offline });
    for (const method of METHODS) {
      const absent = await again.manifest('never', method);
      t.deepEqual(told(absent), {
        status: 404,
        cache: 'entrepot; hit; detail=negative',
        warning: staleWarning(reason),
      });
      t.is((await again.manifest('unheld', method)).status, offline ? 504 : 502);
      for (const held of ['latest', 'later']) {
        t.is((await again.manifest(held, method)).status, 200, held);
      }
      const elsewhere = `${again.mirror.url}/v2/library/elsewhere/manifests/never`;
      t.is((await get(elsewhere, { method })).status, offline ? 504 : 502);
    }
    t.deepEqual(refusalOf(await again.manifest('never')), {
      status: 404,
      code: 'MANIFEST_UNKNOWN',
      message: `${UPSTREAM} had no manifest never in ${REPOSITORY} when it was last asked; ${reason}`,
      detail: { upstream: UPSTREAM, reference: 'never' },
    });
    const list = await again.list();
    t.deepEqual(tagsOf(list), ['later', 'latest', 'unheld']);
    t.is(list.headers['cache-status'], 'entrepot; hit; detail=stale');
  });
}

test('what answers with a fault is not away: its fault is told, whatever its last list says', async (t) => {
  const { registry, ask, manifest } = await startScene(t);
  await ask(LIST);
  for (const [status, seen] of [
    [403, 403],
    [500, 502],
    [429, 429],
  ] as const) {
    registry.status('never', status, { times: Infinity });
    t.is((await manifest('never')).status, seen);
    registry.heal();
  }
});

test('a catalog that was made anew knows of no list, and what it holds is served', async (t) => {
  const scene = await startScene(t);
  await scene.manifest('latest');
  await scene.ask(LIST);
  await scene.mirror.stop();
  await rm(join(scene.mirror.storePath, 'catalog'), { recursive: true });
  const again = await restart(t, scene, { offline: true });
  t.is((await again.manifest('never')).status, 504);
  t.is((await again.manifest('latest')).status, 200);
  t.deepEqual(tagsOf(await again.list()), ['latest']);
});

test('a repository that the upstream has no more has no list, and nothing is known of its tags', async (t) => {
  const scene = await startScene(t, { tags: { negativeTtlMs: 0 } });
  const { registry, ask, manifest } = scene;
  await ask(LIST);
  registry.status(LIST, 404);
  t.is((await ask(LIST)).status, 404);
  await registry.refuse();
  t.is((await manifest('never')).status, 502);
  const again = await restart(t, scene, { offline: true });
  t.is((await again.manifest('never')).status, 504);
});

test('a mirror that says 404 without having asked takes nothing from a held tag', async (t) => {
  const { registry, manifest, image, clock } = await startScene(t);
  await manifest('latest');
  const headers = {
    'Cache-Status': 'entrepot; hit; detail=negative',
    Warning: staleWarning('far.example: no answer'),
  };
  registry.status(/manifests/, 404, { headers, times: Infinity });
  const warning = `${UPSTREAM}: its mirror says: served from the mirror's copy: far.example: no answer`;
  for (const method of METHODS) {
    t.like(told(await manifest('latest', { method })), {
      status: 200,
      warning: staleWarning(warning),
    });
    t.like(told(await manifest('never', { method })), {
      status: 404,
      warning: staleWarning(warning),
    });
  }
  registry.heal();
  clock.advance(MINUTE);
  t.is((await manifest('latest')).headers['docker-content-digest'], image.manifest.digest);
});

test('through a parent mirror whose upstream is down an absent tag is absent', async (t) => {
  const { registry, mirror, manifest, ask, clock } = await startScene(t);
  const child = await startMirror(t, {
    clock,
    upstreams: { [UPSTREAM]: { url: mirror.url, namespace: UPSTREAM } },
  });
  await manifest('latest');
  await ask(LIST);
  await registry.refuse();
  for (const method of METHODS) {
    const answer = await get(`${child.url}/v2/${REPOSITORY}/manifests/never`, { method });
    t.is(answer.status, 404);
    t.regex(String(answer.headers.warning), /its mirror says: .*ECONNREFUSED/);
  }
});

test("cosign's tags of an image that was completed are 404 offline where there were none, after a restart too", async (t) => {
  const scene = await startScene(t, { upstream: { hydrate: 'blob' } });
  const { registry, mirror, image, manifest, blob } = scene;
  const looked = buildImage({ seed: 'looked', layers: [10] });
  registry.addImage(REPOSITORY, 'looked', looked);
  const signature = buildArtifact({ seed: 'signature', artifactType: 'application/example' });
  const [sig = '', att = '', sbom = ''] = cosignTags(parseDigest(image.manifest.digest));
  registry.addImage(REPOSITORY, sig, signature);
  await manifest('looked');
  await manifest('latest');
  await blob(image.layer(0));
  const node = {
    target: { upstream: UPSTREAM, repository: REPOSITORY as never },
    digest: parseDigest(image.manifest.digest),
  };
  const { catalog } = mirror.server.store;
  await until('the image to be complete', async () => catalog.wasSearched(node));
  await idle(mirror);
  const again = await restart(t, scene, { offline: true });
  for (const method of METHODS) {
    t.is((await again.manifest(sig, method)).status, 200);
    for (const tag of [att, sbom, fallbackTag(node.digest)]) {
      t.is((await again.manifest(tag, method)).status, 404, tag);
    }
    // Nobody has asked for any of another image.
    for (const tag of cosignTags(parseDigest(looked.manifest.digest))) {
      t.is((await again.manifest(tag, method)).status, 504, tag);
    }
  }
});

test('a tag that a pin keeps is listed as it is pulled, page by page, and marked', async (t) => {
  const pins = [`${UPSTREAM}/${REPOSITORY}:latest`];
  const scene = await startScene(t, { store: { pins } });
  const { registry, image, ask, manifest } = scene;
  registry.tag(REPOSITORY, 'other', image.manifest);
  registry.tag(REPOSITORY, 'zeta', image.manifest);
  for (const tag of ['latest', 'other']) await manifest(tag);
  for (const tag of ['latest', 'other']) registry.untag(REPOSITORY, tag);
  const warning = staleWarning(
    `${UPSTREAM} does not list these tags any more, which are kept here: latest`,
  );
  const pages: string[] = [];
  for (let path: string | undefined = `${LIST}?n=1`; path !== undefined;) {
    const page: ClientAnswer = await ask(path);
    t.like(told(page), { status: 200, cache: 'entrepot; fwd=miss', warning });
    pages.push(...tagsOf(page));
    path = /<(.*)>/.exec(String(page.headers['link'] ?? ''))?.[1];
  }
  t.deepEqual(pages, ['latest', 'zeta']);
  for (const tag of pages) t.is((await manifest(tag)).status, 200, tag);
  t.is((await manifest('other')).status, 404);
  // A whole repository may go.
  registry.status(LIST, 404, { times: 1 });
  const kept = await ask(LIST);
  t.like(told(kept), { status: 200, cache: 'entrepot; hit; detail=stale', warning });
  t.deepEqual(tagsOf(kept), ['latest']);
  await registry.refuse();
  for (const offline of [false, true]) {
    const again = await restart(t, scene, { offline, pins });
    const listed = tagsOf(await again.list());
    t.true(listed.includes('latest'));
    t.false(listed.includes('other'));
    await again.mirror.stop();
  }
});

test('within its ttl a list has what was pulled since, and not what went since', async (t) => {
  const { registry, image, ask, manifest, clock } = await startScene(t, {
    tags: { ttlMs: HOUR },
  });
  await manifest('latest');
  t.deepEqual(tagsOf(await ask(LIST)), ['latest']);
  clock.advance(MINUTE);
  registry.tag(REPOSITORY, 'newer', image.manifest);
  await manifest('newer');
  const answer = await ask(LIST);
  t.is(answer.headers['cache-status'], 'entrepot; hit');
  t.is(answer.headers.warning, undefined);
  t.deepEqual(tagsOf(answer), ['latest', 'newer']);
});
