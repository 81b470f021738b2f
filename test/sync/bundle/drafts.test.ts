import test from 'ava';
import { buildImage } from '../../helpers/image.ts';
import { rule, syncConfig } from '../rules.ts';
import { Connected } from './connected.ts';
import { addIndexed, APP, filesOf, REPOSITORY } from './draft-world.ts';

/** What the tag means, and what is attached to the image: asked for each time. */
const ASKED = [
  `GET /v2/${REPOSITORY}/referrers/<one>`,
  ...['', '.att', '.sbom', '.sig'].map(
    (suffix) => `HEAD /v2/${REPOSITORY}/manifests/<sha256-one>${suffix}`,
  ),
  `HEAD /v2/${REPOSITORY}/manifests/v1`,
];

test('a draft of a named image fetches what is missing once, and of what is held nothing', async (t) => {
  const { registry, mirror, drafts } = await Connected.start(t);
  const image = buildImage({ seed: 'one', layers: [1000, 2000] });
  registry.addImage(REPOSITORY, 'v1', image, { name: 'one' });
  const { id, draft, problems, unasked } = await drafts.report({ images: [`${REPOSITORY}:v1`] });
  t.deepEqual([problems, unasked], [[], []]);
  const { digest, mediaType, size } = image.manifest;
  t.deepEqual(draft, {
    series: mirror.server.store.id!,
    number: 1,
    images: [{ name: APP, digest, tag: 'v1', mediaType, size, isSearched: true }],
    blobs: filesOf(image),
    needs: [],
    released: [],
    files: [],
  });
  const layer = image.layer(1);
  const got = await drafts.blob(id, layer.digest, 5, 1500);
  t.deepEqual(Buffer.from(await got.arrayBuffer()), layer.bytes.subarray(5, 1500));
  t.is(await drafts.end(id), 204);
  t.is((await drafts.look(id)).status, 404);
  const files = [
    'blobs/<one.config>',
    'blobs/<one.layer0>',
    'blobs/<one.layer1>',
    'manifests/<one>',
  ];
  t.deepEqual(registry.conversation().toSorted(), [
    ...files.map((path) => `GET /v2/${REPOSITORY}/${path}`),
    ...ASKED,
  ]);
  registry.clear();
  t.deepEqual(await drafts.draft({ images: [`${REPOSITORY}:v1`] }), draft);
  t.deepEqual(registry.conversation().toSorted(), ASKED);
  t.deepEqual(mirror.server.store.care.pins.list(), []);
});

test('an image is named by its digest, and comes with all platforms and what is attached', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  const { index, amd64, arm64, signature, cosigned, cosignTag } = addIndexed(registry);
  const { digest } = index.manifest;
  const draft = await drafts.draft({ images: [`${APP}@${digest}`] });
  t.deepEqual(draft.blobs, filesOf(index, amd64, arm64, signature, cosigned));
  const rowOf = ({ manifest: { digest, mediaType, size } }: typeof signature | typeof index) => ({
    name: APP,
    digest,
    mediaType,
    size,
    isSearched: true,
  });
  const rows = [
    rowOf(index),
    { ...rowOf(signature), subject: digest },
    { ...rowOf(cosigned), tag: cosignTag, subject: digest },
  ];
  t.deepEqual(
    draft.images,
    rows.toSorted((a, b) =>
      `${'tag' in a ? 1 : 0}${a.digest}` < `${'tag' in b ? 1 : 0}${b.digest}` ? -1 : 1,
    ),
  );
});

test('a rule that selects an image by its platforms counts for its name too, without referrers none come', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { names: ['multi'] }, platforms: ['linux/amd64'] })];
  const { registry, drafts } = await Connected.start(t, { sync: syncConfig(rules) });
  const { index, amd64 } = addIndexed(registry);
  for (const images of [undefined, [`${APP}:multi`]]) {
    const draft = await drafts.draft(images && { images });
    t.deepEqual(draft.blobs, filesOf(index, amd64));
    t.is(draft.images.length, 1);
  }
  t.false(registry.conversation().some((line) => line.includes('<index.1')));
});

test('without images a draft has what the rules select, with a lock what that has', async (t) => {
  const rules = [rule(REPOSITORY, { tags: { globs: ['v*'] } })];
  const site = await Connected.start(t, { sync: syncConfig(rules) });
  const { registry, drafts } = site;
  const [one, two, later] = ['one', 'two', 'later'].map((seed) =>
    buildImage({ seed, layers: [100] }),
  );
  registry.addImage(REPOSITORY, 'v1', one!);
  registry.addImage(REPOSITORY, 'v2', two!);
  registry.addImage(REPOSITORY, 'other', later!);
  const plan = await fetch(`${site.mirror.server.adminUrl}/api/v1/sync/plan`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  const { lock } = (await plan.json()) as { lock: object };
  t.deepEqual((await drafts.draft()).blobs, filesOf(one!, two!));
  registry.tag(REPOSITORY, 'v2', later!.manifest);
  t.deepEqual((await drafts.draft()).blobs, filesOf(one!, later!));
  t.deepEqual((await drafts.draft({ lock })).blobs, filesOf(one!, two!));
  t.deepEqual((await drafts.draft({ lock, images: [`${APP}:v2`] })).blobs, filesOf(two!));
});

test('what cannot be fetched is told, and there is no draft', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  registry.addImage(REPOSITORY, 'v1', buildImage({ seed: 'one', layers: [100] }));
  const broken = buildImage({ seed: 'two', layers: [100] });
  registry.addImage(REPOSITORY, 'v2', broken);
  registry.status(broken.layer(0), 404, { times: Infinity });
  const { draft, problems } = await drafts.report({
    images: ['v1', 'v2'].map((tag) => `${REPOSITORY}:${tag}`),
  });
  t.is(draft, undefined);
  const reason = `the upstream has no ${broken.layer(0).digest}`;
  t.deepEqual(problems, [{ image: `${APP}:v2`, reason }]);
  const none = await drafts.report({ images: [`${REPOSITORY}:v3`] });
  t.deepEqual(none.problems, [{ image: `${APP}:v3`, reason: 'the upstream has no such tag' }]);
});

test('while an upstream is away a draft is made of what is held whole, and says so', async (t) => {
  const rules = [
    rule(REPOSITORY, { tags: { globs: ['v*'] }, referrers: true }),
    rule(REPOSITORY, { tags: { names: ['multi'] }, referrers: true }),
  ];
  const sync = syncConfig(rules);
  const site = await Connected.start(t, { sync });
  const { registry, mirror, drafts } = site;
  const { index } = addIndexed(registry);
  const one = buildImage({ seed: 'one', layers: [100] });
  registry.addImage(REPOSITORY, 'v1', one);
  const before = await drafts.draft();
  t.deepEqual(
    before.images.map(({ tag }) => tag).filter((tag) => tag === 'multi' || tag === 'v1'),
    ['multi', 'v1'],
  );
  await registry.refuse();
  const away = await drafts.report();
  t.deepEqual(away.draft, before);
  t.deepEqual(away.unasked, [`${APP}:multi`, `${APP}:v1`]);
  await mirror.stop();
  const offline = await Connected.start(t, {
    registry,
    sync,
    offline: true,
    storePath: mirror.storePath,
  });
  const unlinked = await offline.drafts.report();
  t.deepEqual(unlinked.draft, before);
  t.deepEqual(unlinked.unasked, away.unasked);
  t.deepEqual(
    (await offline.drafts.report({ images: [`${APP}@${index.manifest.digest}`] })).problems,
    [],
  );
  const missing = await offline.drafts.report({ images: [`${APP}:v2`] });
  t.is(missing.draft, undefined);
  t.is(missing.problems.length, 1);
});

test('what is wrong with a wish is told before anything is asked', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  for (const [wish, status, error] of [
    [
      {},
      400,
      'this site has no rules of sync: name the images that the bundle is to have, or write rules under "sync"',
    ],
    [{ images: [] }, 400, 'name an image at least, or none for all that the rules of sync select'],
    [
      { images: ['library/*'] },
      400,
      '"library/*" is not one image: write it as REPOSITORY:TAG or REPOSITORY@DIGEST',
    ],
    [
      { images: ['elsewhere.example/app:v1'] },
      404,
      '"elsewhere.example" is not an upstream of this mirror, which has hub.example; add it under "upstreams" in the configuration file',
    ],
    [{ lock: {} }, 400, 'lock.version: not a lock of this version; make a new one'],
    [
      { inventory: 'bm9uZQ==' },
      400,
      'this is no inventory of entrepot, or it is damaged: make one at the site with "entrepot inventory", and copy it again',
    ],
    [
      { files: [{ name: '../x', digest: `sha256:${'0'.repeat(64)}`, size: 1 }] },
      400,
      '"files[0]" must have a name without a folder, a digest and a size',
    ],
  ] as const) {
    const { body, ...rest } = await drafts.begin(wish);
    t.deepEqual({ ...rest, error: body.error }, { status, error });
  }
  t.deepEqual(registry.conversation(), []);
});
