import { chmod, stat } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import type { ImageReport } from '../../../src/api/store-api.ts';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  descriptorOf,
  digestOf,
  MEDIA_TYPES,
  storeJson,
} from '../../helpers/image.ts';
import { blobPath } from '../../helpers/mirror.ts';
import { get } from '../../helpers/client.ts';
import {
  blobsOf,
  layoutOf,
  named,
  REPOSITORY,
  startSite,
  storedOf,
  tarOf,
  UPSTREAM,
  type TarEntry,
} from './layout-site.ts';

const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
const [amd64, arm64] = PLATFORMS.map((platform) =>
  buildImage({ seed: platform.architecture, layers: [40_000, 3_000], platform }),
) as [ReturnType<typeof buildImage>, ReturnType<typeof buildImage>];
const app = buildImage({ seed: 'app', layers: [100_000, 2_000] });
const both = buildIndex([
  { image: amd64, platform: PLATFORMS[0]! },
  { image: arm64, platform: PLATFORMS[1]! },
]);
const signature = buildArtifact({
  seed: 'signature',
  artifactType: 'application/vnd.example.signature',
  subject: both.manifest,
});

test('an image of an OCI layout is pulled under its name, with its own digests and its referrers', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(
    layoutOf(
      [named(both.manifest, undefined, 'v1'), named(signature.manifest)],
      [both.manifest, ...blobsOf(amd64, arm64, signature)],
    ),
  );
  const { status, report } = await site.bring(tar, 'app:v1');
  t.is(status, 200);
  t.deepEqual(report, {
    image: `${UPSTREAM}/${REPOSITORY}:v1`,
    digest: both.manifest.digest,
    mediaType: both.manifest.mediaType,
    form: 'oci-layout',
    platforms: ['linux/amd64', 'linux/arm64'],
    leftOut: [],
    referrers: 1,
    blobs: 12,
    bytes: [both.manifest, ...blobsOf(amd64, arm64, signature)].reduce(
      (n, { size }) => n + size,
      0,
    ),
    skipped: 0,
  });
  const byTag = await site.pull('manifests/v1');
  t.deepEqual(
    [byTag.status, byTag.headers['docker-content-digest'], byTag.headers['content-type']],
    [200, both.manifest.digest, both.manifest.mediaType],
  );
  t.deepEqual(byTag.body, both.manifest.bytes);
  for (const image of [amd64, arm64, signature]) {
    t.deepEqual((await site.pull(`manifests/${image.manifest.digest}`)).body, image.manifest.bytes);
    for (const blob of image.blobs) {
      t.deepEqual((await site.pull(`blobs/${blob.digest}`)).body, blob.bytes);
    }
  }
  const referrers = await site.pull(`referrers/${both.manifest.digest}`);
  t.true(referrers.body.toString().includes(signature.manifest.digest));
  const pins = await get(`${site.mirror.server.adminUrl}/api/v1/pins`);
  const [pin] = (JSON.parse(pins.body.toString()) as { pins: Record<string, unknown>[] }).pins;
  t.like(pin, { origin: 'hand', image: `${UPSTREAM}/${REPOSITORY}:v1`, reason: 'imported' });
  const explained = await get(
    `${site.mirror.server.adminUrl}/api/v1/explain?image=${UPSTREAM}/${REPOSITORY}:v1`,
  );
  const { manifests } = JSON.parse(explained.body.toString()) as ImageReport;
  const held = manifests.flatMap((each) => each.held);
  t.is(new Set(held.map(({ digest }) => digest)).size, report.blobs);
  t.true(held.every(({ layout, upstream }) => layout && upstream === undefined));
});

test('what is imported again costs nothing, and a moved tag tells what it meant', async (t) => {
  const site = await startSite(t);
  const first = await tarOf(layoutOf([named(app.manifest)], blobsOf(app)));
  const second = await tarOf(layoutOf([named(amd64.manifest)], blobsOf(amd64)));
  await site.bring(first, 'app');
  const again = await site.bring(first, 'app');
  t.like(again.report, { blobs: 0, bytes: 0, before: app.manifest.digest });
  const moved = await site.bring(second, `${UPSTREAM}/${REPOSITORY}:latest`);
  t.like(moved.report, { blobs: 4, before: app.manifest.digest, digest: amd64.manifest.digest });
  t.deepEqual((await site.pull('manifests/latest')).body, amd64.manifest.bytes);
});

test('what is held is read and not written again, unless somebody has touched it', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(layoutOf([named(app.manifest)], blobsOf(app)));
  await site.bring(tar, 'app:v1');
  const [kept, touched] = app.layers.map(({ digest }) => blobPath(site.mirror.storePath, digest));
  const before = await Promise.all([stat(kept!), stat(touched!)]);
  await chmod(touched!, 0o640);
  t.like((await site.bring(tar, 'app:v1')).report, { blobs: 0, bytes: 0 });
  const after = await Promise.all([stat(kept!), stat(touched!)]);
  t.is(after[0].ino, before[0].ino);
  t.not(after[1].ino, before[1].ino);
});

test('digests of sha512, an index of indexes, and layers that registries do not give are taken', async (t) => {
  const site = await startSite(t);
  const layer = { ...app.layer(0), digest: digestOf(app.layer(0).bytes, 'sha512') };
  const elsewhere = { ...descriptorOf(app.layer(1)), mediaType: `${MEDIA_TYPES.layer}.foreign` };
  const foreign = elsewhere.mediaType.replace('v1.tar', 'nondistributable.v1.tar');
  const manifest = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: descriptorOf(app.config),
      layers: [descriptorOf(layer), { ...elsewhere, mediaType: foreign }],
    },
    MEDIA_TYPES.manifest,
  );
  const inner = storeJson(
    { schemaVersion: 2, manifests: [descriptorOf(manifest)] },
    MEDIA_TYPES.index,
  );
  const outer = storeJson(
    { schemaVersion: 2, manifests: [descriptorOf(inner)] },
    MEDIA_TYPES.index,
  );
  const files = layoutOf([named(outer)], [outer, inner, manifest, app.config, layer]);
  const { report, error } = await site.bring(await tarOf(files), 'app:v1');
  t.is(error, undefined);
  t.like(report, { digest: outer.digest, blobs: 5, leftOut: [], platforms: ['linux/amd64'] });
  for (const { digest, bytes } of [outer, inner, manifest]) {
    t.deepEqual((await site.pull(`manifests/${digest}`)).body, bytes);
  }
  t.deepEqual((await site.pull(`blobs/${layer.digest}`)).body, layer.bytes);
});

test('a pin by hand that is there already keeps its reason', async (t) => {
  const site = await startSite(t);
  const pins = `${site.mirror.server.adminUrl}/api/v1/pins`;
  const body = JSON.stringify({ image: 'app:v1', reason: 'ours' });
  const headers = { 'content-type': 'application/json' };
  await get(pins, { method: 'POST', body, headers });
  await site.bring(await tarOf(layoutOf([named(app.manifest)], blobsOf(app))), 'app:v1');
  const kept = JSON.parse((await get(pins)).body.toString()) as { pins: { reason: string }[] };
  t.deepEqual(
    kept.pins.map(({ reason }) => reason),
    ['ours'],
  );
});

test('an image is taken in under its digest alone, and is pinned by it', async (t) => {
  const site = await startSite(t);
  const { digest } = app.manifest;
  const roots = [named(amd64.manifest), named(app.manifest)];
  const tar = await tarOf(layoutOf(roots, blobsOf(app, amd64)));
  const { report } = await site.bring(tar, `app@${digest}`);
  t.like(report, { image: `${UPSTREAM}/${REPOSITORY}@${digest}`, digest, blobs: 4 });
  t.is((await site.pull(`manifests/${digest}`)).status, 200);
  const pins = await get(`${site.mirror.server.adminUrl}/api/v1/pins`);
  t.true(pins.body.toString().includes(`"image":"${UPSTREAM}/${REPOSITORY}@${digest}"`));
  const other = await site.bring(tar, `app@${digest}`, { ref: amd64.manifest.digest });
  t.is(
    other.error,
    `the image is ${amd64.manifest.digest}, and it was to be ${digest}: name its tag or its own digest with --as`,
  );
});

test('of several images one is named, and what belongs to the others is not kept', async (t) => {
  const site = await startSite(t);
  const roots = [
    named(app.manifest, 'docker.io/library/app:1', '1'),
    named(amd64.manifest, 'docker.io/library/other:2', '2'),
  ];
  const tar = await tarOf(layoutOf(roots, blobsOf(app, amd64)));
  const several = await site.bring(tar, 'app:v1');
  t.is(several.status, 422);
  t.is(
    several.error,
    'it has several images: name one with --ref, of docker.io/library/app:1, docker.io/library/other:2',
  );
  const none = await site.bring(tar, 'app:v1', { ref: '3' });
  t.is(
    none.error,
    'it has no image "3": name one with --ref, of docker.io/library/app:1, docker.io/library/other:2',
  );
  t.is(site.mirror.server.catalog.usage.blobs, 0);
  for (const ref of ['2', 'docker.io/library/other:2', amd64.manifest.digest]) {
    const { report } = await site.bring(tar, 'app:v1', { ref });
    t.is(report.digest, amd64.manifest.digest, ref);
  }
  t.is(site.mirror.server.catalog.usage.blobs, 4);
});

test('an index may lack platforms, and says which; one at least is there', async (t) => {
  const site = await startSite(t);
  const roots = [named(both.manifest)];
  const part = await tarOf(layoutOf(roots, [both.manifest, ...blobsOf(amd64), arm64.manifest]));
  const { report } = await site.bring(part, 'app:v1');
  t.deepEqual(report.platforms, ['linux/amd64']);
  t.deepEqual(report.leftOut, [{ digest: arm64.manifest.digest, platform: 'linux/arm64' }]);
  t.is((await site.pull(`manifests/${amd64.manifest.digest}`)).status, 200);
  t.is((await site.pull(`manifests/${arm64.manifest.digest}`)).status, 404);
  const none = await tarOf(layoutOf(roots, [both.manifest, amd64.manifest, amd64.config]));
  const { status, error } = await site.bring(none, 'app:v2');
  t.is(status, 422);
  t.is(
    error,
    `${amd64.layer(0).digest} is missing: it is not the whole image, copy it again with all that belongs to it`,
  );
});

/** The middle layer stands in it twice. */
const layered = buildImage({ seed: 'layered', layers: [50_000, app.layer(1), app.layer(1)] });

/** As docker wrote it up to 24: layers under ids of its own, and one that is there already as a link. */
function archiveOf(image: typeof app, names: readonly string[] | null): TarEntry[] {
  const ids = image.layers.map((layer, at) => digestOf(`${at} ${layer.digest}`).slice(7));
  const config = `${image.config.digest.slice(7)}.json`;
  const Layers = ids.map((id) => `${id}/layer.tar`);
  return [
    ...image.layers.flatMap((layer, at): TarEntry[] => {
      const first = image.layers.indexOf(layer);
      const name = `${ids[at]}/layer.tar`;
      return [
        { name: `${ids[at]}/`, type: 'directory' },
        { name: `${ids[at]}/VERSION`, bytes: '1.0' },
        { name: `${ids[at]}/json`, bytes: '{}' },
        first === at
          ? { name, bytes: layer.bytes }
          : { name, type: 'symlink', to: `../${ids[first]}/layer.tar` },
      ];
    }),
    { name: config, bytes: image.config.bytes },
    { name: 'manifest.json', bytes: JSON.stringify([{ Config: config, RepoTags: names, Layers }]) },
    { name: 'repositories', bytes: '{}' },
  ];
}

test('a docker-archive becomes an OCI image of the same config and layers, the same each time', async (t) => {
  const site = await startSite(t);
  const tar = await tarOf(archiveOf(layered, ['app:1']));
  const { report } = await site.bring(tar, 'app:v1', { ref: 'app:1' });
  t.like(report, { form: 'docker-archive', platforms: ['linux/amd64'], skipped: 7, blobs: 4 });
  const manifest = await site.pull('manifests/v1');
  t.is(manifest.headers['content-type'], 'application/vnd.oci.image.manifest.v1+json');
  t.is(manifest.headers['docker-content-digest'], report.digest);
  const { config } = layered;
  t.deepEqual(JSON.parse(manifest.body.toString()), {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.size,
    },
    layers: layered.layers.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    })),
  });
  for (const { digest, bytes } of layered.blobs) {
    t.deepEqual((await site.pull(`blobs/${digest}`)).body, bytes);
  }
  const again = await site.bring(await tarOf(archiveOf(layered, null).toReversed()), 'app:v2');
  t.like(again.report, { digest: report.digest, blobs: 0 });
});

test('layers that a docker-archive has compressed keep their bytes', async (t) => {
  const site = await startSite(t);
  const layer = storedOf(gzipSync(app.layer(0).bytes));
  const Layers = [`${layer.digest.slice(7)}.tar.gz`];
  const document = { os: 'linux', architecture: 'amd64', rootfs: { diff_ids: ['sha256:0'] } };
  const config = storedOf(Buffer.from(JSON.stringify(document)));
  const tar = await tarOf([
    { name: config.digest, bytes: config.bytes },
    { name: Layers[0]!, bytes: layer.bytes },
    { name: 'manifest.json', bytes: JSON.stringify([{ Config: config.digest, Layers }]) },
  ]);
  t.is((await site.bring(tar, 'app:v1')).status, 200);
  const manifest = (await site.pull('manifests/v1')).body.toString();
  t.like((JSON.parse(manifest) as { layers: unknown[] }).layers[0], {
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: layer.digest,
  });
});

test('what can be read as an OCI layout and as a docker-archive is taken as the layout', async (t) => {
  const site = await startSite(t);
  const path = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
  const Config = path(app.config.digest);
  const Layers = app.layers.map(({ digest }) => path(digest));
  const files = layoutOf([named(app.manifest, 'docker.io/library/app:1', '1')], blobsOf(app));
  const tar = await tarOf([
    { name: 'blobs/', type: 'directory' },
    ...files.toReversed(),
    { name: 'manifest.json', bytes: JSON.stringify([{ Config, RepoTags: ['app:1'], Layers }]) },
    { name: 'repositories', bytes: '{}' },
  ]);
  const { report } = await site.bring(tar, 'app:v1');
  t.like(report, { form: 'oci-layout', digest: app.manifest.digest, skipped: 1 });
  t.deepEqual((await site.pull('manifests/v1')).body, app.manifest.bytes);
});
