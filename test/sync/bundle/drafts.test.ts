import test, { type ExecutionContext } from 'ava';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildImage, type Image } from '../../helpers/image.ts';
import { startMirror, type MirrorOptions } from '../../helpers/mirror.ts';
import { UPSTREAM } from '../../helpers/scene.ts';
import { DraftClient } from './draft-client.ts';

const REPOSITORY = 'library/app';
const APP = `${UPSTREAM}/${REPOSITORY}`;

/** What the tag means, and what is attached to the image: asked for each time. */
const ASKED = [
  `GET /v2/${REPOSITORY}/referrers/<one>`,
  ...['', '.att', '.sbom', '.sig'].map(
    (suffix) => `HEAD /v2/${REPOSITORY}/manifests/<sha256-one>${suffix}`,
  ),
  `HEAD /v2/${REPOSITORY}/manifests/v1`,
];

async function start(t: ExecutionContext, options: Partial<MirrorOptions> = {}) {
  const registry = await FakeRegistry.start(t);
  const upstreams = { [UPSTREAM]: { url: registry.url } };
  const mirror = await startMirror(t, { upstreams, ...options });
  return { registry, mirror, drafts: new DraftClient(mirror) };
}

/** All that an image is made of, sorted. */
function filesOf(...images: readonly Image[]) {
  const files = images.flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
  const sizes = new Map(files.map(({ digest, size }) => [digest, size]));
  return [...sizes]
    .map(([digest, size]) => ({ digest, size }))
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}

test('a draft of a named image fetches what is missing once, and of what is held nothing', async (t) => {
  const { registry, mirror, drafts } = await start(t);
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
  const [layer] = image.blobs.toSorted((a, b) => b.size - a.size);
  const got = await drafts.blob(id, layer!.digest, 5, 1500);
  t.deepEqual(Buffer.from(await got.arrayBuffer()), layer!.bytes.subarray(5, 1500));
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
});
