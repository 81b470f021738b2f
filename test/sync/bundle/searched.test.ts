/** What is attached to an image, as the connected side knows it and a site without a link says it. */
import test from 'ava';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import { buildImage, buildIndex } from '../../helpers/image.ts';
import { get } from '../../helpers/client.ts';
import { startMirror, type TestMirror } from '../../helpers/mirror.ts';
import { bring, bundleOf, pull, REGISTRY, startAirGapped } from './brought-bundle.ts';
import { DraftClient } from './draft-client.ts';

const APP = buildImage({ seed: 'app', layers: [3000] });
const TOOL = buildImage({ seed: 'tool', layers: [2000] });
const SIGNATURE = buildImage({ seed: 'signature', layers: [100] });
const INDEX = buildIndex([
  { image: APP, platform: { os: 'linux', architecture: 'amd64' } },
  { image: TOOL, platform: { os: 'linux', architecture: 'arm64' } },
]);
const BOTH = { manifest: INDEX.manifest, blobs: [APP, TOOL].flatMap(filesOf) };

function filesOf({ manifest, blobs }: typeof APP) {
  return [manifest, ...blobs];
}

function signatureTag(digest: string): string {
  return `${digest.replace(':', '-')}.sig`;
}

async function statusOf(site: TestMirror, repository: string, digest: string): Promise<number> {
  return (await pull(site, repository, signatureTag(digest))).status;
}

test('offline, an image that was looked through has no signature; of one that was not nobody knows', async (t) => {
  const site = await startAirGapped(t);
  const bundle = bundleOf([
    { image: BOTH, repository: 'org/both', tag: 'v1', isSearched: true },
    { image: TOOL, repository: 'org/other', tag: 'v1' },
  ]);
  t.is((await bring(site, await bundle.part(1))).status, 200);
  const digests = [INDEX, APP, TOOL].map(({ manifest }) => manifest.digest);
  const statuses = async () =>
    Promise.all(digests.map(async (digest) => statusOf(site, 'org/both', digest)));
  t.deepEqual(await statuses(), [404, 404, 404]);
  t.is(await statusOf(site, 'org/other', TOOL.manifest.digest), 504);
  t.is(await statusOf(site, 'org/both', SIGNATURE.manifest.digest), 504);
  const url = `${site.url}/v2/org/both/referrers/${INDEX.manifest.digest}?ns=${REGISTRY}`;
  const { status, body } = await get(url);
  t.deepEqual([status, (JSON.parse(String(body)) as { manifests: [] }).manifests], [200, []]);
  // The next one brings a signature.
  const signed = bundleOf(
    [{ image: SIGNATURE, repository: 'org/both', tag: signatureTag(INDEX.manifest.digest) }],
    { manifest: { number: 2 } },
  );
  t.is((await bring(site, await signed.part(1))).status, 200);
  t.deepEqual(await statuses(), [200, 404, 404]);
});

test('a draft says that an image was looked through where its upstream said what is attached', async (t) => {
  const registry = await FakeRegistry.start(t);
  registry.addIndex('org/both', 'v1', INDEX);
  for (const tag of ['v1', 'v2']) {
    registry.addImage(`org/${tag}`, tag, tag === 'v1' ? TOOL : SIGNATURE);
  }
  const upstreams = { [REGISTRY]: { url: registry.url } };
  const mirror = await startMirror(t, { upstreams });
  for (const [tag, { blobs }] of Object.entries({ v1: TOOL, v2: SIGNATURE })) {
    await pull(mirror, `org/${tag}`, tag);
    for (const { digest } of blobs) {
      await get(`${mirror.url}/v2/org/${tag}/blobs/${digest}?ns=${REGISTRY}`);
    }
  }
  const drafts = new DraftClient(mirror);
  const searched = async (image: string) =>
    (await drafts.draft({ images: [`${REGISTRY}/${image}`] })).images.map(
      ({ isSearched = false }) => isSearched,
    );
  t.deepEqual(await searched('org/both:v1'), [true]);
  t.deepEqual(await searched('org/v2:v2'), [true], 'all of it was held');
  await registry.refuse();
  t.deepEqual(await searched('org/both:v1'), [true], 'it was said before');
  t.deepEqual(await searched('org/v1:v1'), [false]);
});
