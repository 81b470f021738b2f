/** What goes in bundles, layouts and exports: judged where it is made, and anew where it comes in. */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ImportReport } from '../../src/api/bundle-api.ts';
import type { SyncStatus } from '../../src/api/sync-api.ts';
import { get } from '../helpers/client.ts';
import {
  buildBlob,
  buildImage,
  descriptorOf,
  fallbackTag,
  MEDIA_TYPES,
  storeJson,
  type Image,
} from '../helpers/image.ts';
import { createTempFolder, type TestMirror } from '../helpers/mirror.ts';
import { REPOSITORY as GUARDED, UPSTREAM } from '../helpers/scene.ts';
import {
  bring,
  bundleOf,
  pull,
  REGISTRY,
  trusted,
  COURIER,
} from '../sync/bundle/brought-bundle.ts';
import { DraftClient } from '../sync/bundle/draft-client.ts';
import { Gap, REPOSITORY } from '../sync/bundle/gap.ts';
import {
  blobsOf,
  layoutOf,
  named,
  REPOSITORY as APP,
  startSite,
  tarOf,
} from '../sync/bundle/layout-site.ts';
import { inventoryOf } from '../sync/bundle/site-of.ts';
import { rule, syncConfig } from '../sync/rules.ts';
import { admissionBy, startGuarded } from './guarded.ts';
import { startScanned } from './scanned.ts';
import { attachBundle, carrierOf, KeyHolder, statementOf } from './signing.ts';
import { Authority, IDENTITY, ISSUER } from './signatures/authority.ts';

const NOWHERE = { os: 'unknown', architecture: 'unknown' };
const UNSIGNED =
  'it may not be pulled: admission.rules[0] is not met: none that counts is held here, and this site is offline';

async function startGap(t: ExecutionContext): Promise<Gap & { signer: KeyHolder }> {
  const signer = new KeyHolder();
  const admission = admissionBy(signer.writeKey(await createTempFolder(t)));
  return Object.assign(await Gap.open(t, { admission }), { signer });
}

async function statusOf({ server }: TestMirror): Promise<SyncStatus> {
  const { body } = await get(`${server.adminUrl}/api/v1/sync`);
  return JSON.parse(String(body)) as SyncStatus;
}

function pinsOf({ server }: TestMirror): string[] {
  return server.store.care.pins.list().map(({ image }) => image);
}

/** No byte of it: by tag, by digest, or as a blob. */
async function requireRefused(t: ExecutionContext, site: TestMirror, image: Image): Promise<void> {
  const { digest } = image.manifest;
  t.is((await pull(site, REPOSITORY, digest)).status, 403);
  for (const each of image.blobs) {
    const path = `/v2/${REPOSITORY}/blobs/${each.digest}?ns=${REGISTRY}`;
    t.is((await get(`${site.url}${path}`)).status, 403);
  }
}

for (const way of ['attach', 'attachByTag'] as const) {
  test(`a site judges what a bundle brings before tags move: ${way}`, async (t) => {
    const gap = await startGap(t);
    const { registry, signer } = gap;
    const [signed, unsigned] = ['signed', 'unsigned'].map((seed) =>
      buildImage({ seed, layers: [500] }),
    ) as [Image, Image];
    registry.addImage(REPOSITORY, 'signed', signed);
    registry.addImage(REPOSITORY, 'unsigned', unsigned);
    signer[way](registry, REPOSITORY, signed.manifest);
    const { bundle } = await gap.pack(['signed', 'unsigned']);
    const { report } = (await gap.bringAll(bundle)) as unknown as { report: ImportReport };
    const [name, other] = ['signed', 'unsigned'].map((tag) => `${REGISTRY}/${REPOSITORY}:${tag}`);
    t.deepEqual(report.refused, [{ image: other!, reason: UNSIGNED }]);
    t.is(report.images, 1);
    t.deepEqual(report.moved, [{ image: name!, digest: signed.manifest.digest }]);
    await gap.requireServed('signed', signed);
    t.is((await pull(gap.site, REPOSITORY, 'unsigned')).status, 504);
    await requireRefused(t, gap.site, unsigned);
    t.deepEqual(pinsOf(gap.site), [`${REGISTRY}/${REPOSITORY}@${signed.manifest.digest}`]);
    const { images } = await statusOf(gap.site);
    t.deepEqual(
      images.map(({ tag, state }) => [tag, state]),
      [['signed', 'ready']],
    );
    const { body } = await get(`${gap.site.url}/v2/${REPOSITORY}/tags/list?ns=${REGISTRY}`);
    t.false(String(body).includes('"unsigned"'));
  });
}

test('a tag that moves to what is refused stays what it was', async (t) => {
  const gap = await startGap(t);
  const { registry, signer } = gap;
  const before = buildImage({ seed: 'before', layers: [500] });
  signer.attach(registry, REPOSITORY, before.manifest);
  await gap.bringTag('v', before);
  registry.addImage(REPOSITORY, 'v', buildImage({ seed: 'after', layers: [500] }));
  const { bundle } = await gap.pack(['v'], { manifest: { number: 2 } });
  const { report } = (await gap.bringAll(bundle)) as unknown as { report: ImportReport };
  t.is(report.refused.length, 1);
  t.deepEqual(report.moved, []);
  await gap.requireServed('v', before);
  const [{ state, digest } = {}] = (await statusOf(gap.site)).images;
  t.deepEqual([state, digest], ['ready', before.manifest.digest]);
});

test('what a bundle says of itself admits nothing', async (t) => {
  const gap = await startGap(t);
  const { signer, registry } = gap;
  const [signed, image] = ['signed', 'lie'].map((seed) => buildImage({ seed, layers: [500] })) as [
    Image,
    Image,
  ];
  signer.attach(registry, REPOSITORY, signed.manifest);
  await gap.bringTag('signed', signed);
  const attached = fallbackTag(signed.manifest.digest);
  // It names another image that is admitted as what it is attached to.
  for (const [number, tag] of [
    [2, 'lie'],
    [3, `${attached}.sig`],
  ] as const) {
    const made = bundleOf([{ image, repository: REPOSITORY, tag, isSearched: true }]);
    const images = made.manifest.images.map((each) => ({
      ...each,
      subject: signed.manifest.digest,
    }));
    const bundle = bundleOf([{ image, repository: REPOSITORY, tag }], {
      manifest: { images, number },
    });
    const { report } = (await gap.bringAll(bundle)) as unknown as { report: ImportReport };
    t.is(report.refused.length, tag === 'lie' ? 1 : 0);
    t.not((await pull(gap.site, REPOSITORY, tag)).status, 200);
    const { body } = await get(`${gap.site.url}/v2/${REPOSITORY}/tags/list?ns=${REGISTRY}`);
    t.false(String(body).includes(`"${tag}"`));
  }
  await requireRefused(t, gap.site, image);
});

test('advice of whoever made a bundle admits nothing, and is told where the site refuses', async (t) => {
  const gap = await startGap(t);
  const image = buildImage({ seed: 'app', layers: [500] });
  const made = bundleOf([{ image, repository: REPOSITORY, tag: 'v1' }]);
  const advice = ['signedBy release', 'vulnerabilities', 'minAge'];
  const images = made.manifest.images.map((each) => ({ ...each, advice }));
  const bundle = bundleOf([{ image, repository: REPOSITORY, tag: 'v1' }], { manifest: { images } });
  const { report } = (await gap.bringAll(bundle)) as unknown as { report: ImportReport };
  const said = 'where the bundle was made it met: signedBy release, vulnerabilities, minAge';
  t.deepEqual(
    report.refused.map(({ reason }) => reason),
    [`${UNSIGNED} (${said})`],
  );
  t.is((await pull(gap.site, REPOSITORY, 'v1')).status, 504);
  await requireRefused(t, gap.site, image);
  for (const wrong of [[], 'signedBy', ['a\nb'], [''], Array(9).fill('a'), [1]]) {
    const other = made.manifest.images.map((each) => ({ ...each, advice: wrong as string[] }));
    const { status } = await bring(
      gap.site,
      (
        await bundleOf([{ image, repository: REPOSITORY, tag: 'v1' }], {
          manifest: { images: other, number: 2 },
        }).all()
      )[0]!,
    );
    t.is(status, 422);
  }
});

test('a trust root in a bundle counts at once, from a key that may bring one, and from no other', async (t) => {
  const storePath = await createTempFolder(t);
  const [before, after] = [await Authority.create(), await Authority.create()];
  const trustedRoot = join(storePath, 'bundles', 'trusted_root.json');
  await mkdir(join(storePath, 'bundles'), { mode: 0o700 });
  writeFileSync(trustedRoot, JSON.stringify(before.root));
  const signedBy = [{ identity: IDENTITY, issuer: ISSUER }];
  const rules = [{ images: [`${REGISTRY}/**`], mode: 'enforce' as const, signedBy }];
  const admission = { trust: { sigstore: { trustedRoot }, keys: {} }, rules };
  const gap = await Gap.open(t, { admission, storePath });
  const image = buildImage({ seed: 'app', layers: [500] });
  gap.registry.addImage(REPOSITORY, 'v', image);
  const signed = await after.sign({ payload: statementOf(image.manifest) });
  const bundle = Buffer.from(JSON.stringify(signed));
  attachBundle(gap.registry, { repository: REPOSITORY, image: image.manifest, bundle });
  const files = { 'trusted_root.json': Buffer.from(JSON.stringify(after.root)) };
  const { bundle: carried } = await gap.pack(['v'], { files });

  const bundles = { trust: { courier: trusted(COURIER) } };
  const upstreams = { [REGISTRY]: { url: 'http://127.0.0.1:9' } };
  const options = { upstreams, admission, offline: true };
  t.is((await gap.site.reload({ ...options, bundles })).status, 200);
  const refused = (await gap.bringAll(carried)) as unknown as { report: ImportReport };
  t.is(refused.report.refused.length, 1);
  t.deepEqual(refused.report.refusedFiles, ['trusted_root.json']);
  await requireRefused(t, gap.site, image);

  const may = { trust: { courier: trusted(COURIER, ['images', 'trust']) } };
  t.is((await gap.site.reload({ ...options, bundles: may })).status, 200);
  const taken = await bring(gap.site, (await carried.all())[0]!, { allowOlder: true });
  const { report } = taken.body as unknown as { report: ImportReport };
  t.deepEqual(report.refused, []);
  t.deepEqual(report.files, [trustedRoot]);
  await gap.requireServed('v', image);
});

test('of what rules select a bundle leaves out what is refused, and says so; what is named it is, or none is made', async (t) => {
  const rules = [rule('library/*', { tags: { names: ['latest'] } })];
  const scene = await startGuarded(t, { sync: syncConfig(rules) });
  const { registry, mirror, signer, image } = scene;
  const signed = buildImage({ seed: 'signed', layers: [500] });
  registry.addImage('library/signed', 'latest', signed);
  const carrier = signer.attach(registry, 'library/signed', signed.manifest);
  // It could be run, and nobody has signed it.
  const chart = buildImage({ seed: 'chart', layers: [100], subject: signed.manifest });
  registry.addImage('library/signed', undefined, chart);
  const drafts = new DraftClient(mirror);
  const refused = [`${UPSTREAM}/${GUARDED}:latest`];
  const reason = 'it may not be pulled: admission.rules[0] is not met: it has no signature';

  const whole = await drafts.report();
  t.deepEqual(whole.problems, []);
  t.deepEqual(whole.refused, [{ image: refused[0]!, reason }]);
  const carried = whole.draft!.images.map(({ digest }) => digest).toSorted();
  t.deepEqual(carried, [signed.manifest.digest, carrier.digest].toSorted());
  const advised = whole.draft!.images.map(({ digest, advice }) => [digest, advice]);
  t.deepEqual(Object.fromEntries(advised), {
    [signed.manifest.digest]: ['signedBy release'],
    [carrier.digest]: undefined,
  });
  const blobs = whole.draft!.blobs.map(({ digest }) => digest);
  for (const each of [image.manifest, ...image.blobs, chart.manifest, chart.layer(0)]) {
    t.false(blobs.includes(each.digest));
    t.is((await drafts.blob(whole.id, each.digest, 0, 1)).status, 404);
  }
  await drafts.end(whole.id);

  for (const isPlain of [false, true]) {
    const alone = await drafts.report({ images: refused, isPlain });
    t.is(alone.draft, undefined);
    t.deepEqual(alone.problems, [{ image: refused[0]!, reason }]);
    const other = await drafts.report({ images: [`${UPSTREAM}/library/signed:latest`], isPlain });
    t.deepEqual(other.problems, []);
    await drafts.end(other.id);
  }
});

test('an image is carried without the attestations in its index that are refused themselves', async (t) => {
  const scene = await startScanned(t);
  const { registry, mirror, image } = scene;
  const layer = buildBlob('statement', 50, 'application/vnd.in-toto+json');
  const attestation = buildImage({ seed: 'attestation', layers: [layer] });
  const platform = { os: 'linux', architecture: 'amd64' };
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': image.manifest.digest,
  };
  const listed = [
    { ...descriptorOf(image.manifest), platform },
    { ...descriptorOf(attestation.manifest), annotations, platform: NOWHERE },
  ];
  const manifest = storeJson(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: listed },
    MEDIA_TYPES.index,
  );
  registry.addIndex(GUARDED, 'multi', { manifest, images: [image, attestation] });
  const drafts = new DraftClient(mirror);
  const { draft, problems } = await drafts.report({ images: [`${UPSTREAM}/${GUARDED}:multi`] });
  t.deepEqual(problems, []);
  const carried = new Set(draft!.blobs.map(({ digest }) => digest));
  for (const each of [manifest, image.manifest, ...image.blobs]) t.true(carried.has(each.digest));
  for (const each of [attestation.manifest, layer]) t.false(carried.has(each.digest));
  t.is(draft!.images[0]!.isSearched, undefined);
});

test('what was left out of a bundle is not taken from the site that has an earlier one', async (t) => {
  const rules = [rule('library/app', { tags: { names: ['latest'] } })];
  const scene = await startGuarded(t, { sync: syncConfig(rules) });
  const { registry, mirror, signer, image } = scene;
  signer.attach(registry, GUARDED, image.manifest);
  const drafts = new DraftClient(mirror);
  const first = await drafts.draft();
  const name = `${UPSTREAM}/${GUARDED}`;
  const held = [{ name, tag: 'latest', image }];
  const inventory = (await inventoryOf(held, { [first.series]: first.number })).toString('base64');
  registry.addImage(GUARDED, 'latest', buildImage({ seed: 'unsigned', layers: [500] }));
  const { refused, draft } = await drafts.report({ inventory });
  t.is(refused.length, 1);
  t.deepEqual(draft!.released, []);
});

test('a layout of another tool gets no tag and no pin where it is refused, and both where it is not', async (t) => {
  const signer = new KeyHolder();
  const admission = admissionBy(signer.writeKey(await createTempFolder(t)));
  const site = await startSite(t, { admission });
  const [image, signed] = ['app', 'signed'].map((seed) => buildImage({ seed, layers: [500] })) as [
    Image,
    Image,
  ];
  const refused = await site.bring(
    await tarOf(layoutOf([named(image.manifest)], blobsOf(image))),
    `${APP}:v1`,
  );
  t.is(refused.status, 422);
  t.regex(refused.error!, /app:v1 gets no tag and no pin here: .* this site is offline/);
  t.is((await site.pull('manifests/v1')).status, 504);
  t.is((await site.pull(`manifests/${image.manifest.digest}`)).status, 403);
  t.is((await site.pull(`blobs/${image.layer(0).digest}`)).status, 403);
  t.deepEqual(pinsOf(site.mirror), []);

  const { manifest, blobs } = carrierOf(signed.manifest, signer.bundle(signed.manifest));
  const listed = [named(signed.manifest, 'signed'), named(manifest)];
  const entries = layoutOf(listed, [...blobsOf(signed), ...blobs, manifest]);
  const taken = await site.bring(await tarOf(entries), `${APP}:v2`, { ref: 'signed' });
  t.is(taken.status, 200, taken.error);
  t.is((await site.pull('manifests/v2')).status, 200);
  t.is(pinsOf(site.mirror).length, 1);
});
