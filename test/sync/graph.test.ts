import test from 'ava';
import {
  buildArtifact,
  buildImage,
  buildIndex,
  descriptorOf,
  fallbackIndex,
  fallbackTag,
  MEDIA_TYPES,
  storeJson,
  type Image,
} from '../helpers/image.ts';
import { UPSTREAM } from '../helpers/scene.ts';
import { rule } from './rules.ts';
import { Site } from './site.ts';

const APP = `${UPSTREAM}/library/app`;
const REPOSITORY = 'library/app';
const named = (...names: string[]) => rule(REPOSITORY, { tags: { names } });

function image(seed: string, layers: readonly number[] = [500], architecture = 'amd64'): Image {
  return buildImage({ seed, layers, platform: { os: 'linux', architecture } });
}

test('chosen platforms and their attestations only; the index keeps its bytes', async (t) => {
  const amd = { os: 'linux', architecture: 'amd64' };
  const arm = { os: 'linux', architecture: 'arm64' };
  const attested = { os: 'unknown', architecture: 'unknown' };
  const images = { amd: image('amd'), arm: image('arm', [400], 'arm64') };
  const attests = { amd: image('amd attested', [60]), arm: image('arm attested', [70]) };
  const entry = (each: Image, platform: object, subject?: Image) => ({
    ...descriptorOf(each.manifest),
    platform,
    ...(subject && {
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': subject.manifest.digest,
      },
    }),
  });
  const index = storeJson(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [
        entry(images.amd, amd),
        entry(images.arm, arm),
        entry(attests.amd, attested, images.amd),
        entry(attests.arm, attested, images.arm),
      ],
    },
    MEDIA_TYPES.index,
  );
  const site = await Site.start(t, {
    rules: [
      rule(REPOSITORY, { tags: { names: ['v1'] }, platforms: ['linux/amd64'], referrers: true }),
    ],
    registryOptions: { referrers: 'none' },
  });
  const { registry, storePath } = site;
  for (const [name, each] of Object.entries(images)) {
    registry.addImage(REPOSITORY, undefined, each, { name });
  }
  for (const [name, each] of Object.entries(attests)) {
    registry.addImage(REPOSITORY, undefined, each, { name: `${name}-attested` });
  }
  registry.addManifest(REPOSITORY, index, { tags: ['v1'], name: 'index' });
  t.true((await site.run()).isOk);
  t.deepEqual(
    site.asked().filter((line) => /^GET .*(manifests|blobs)/.test(line)),
    [
      'GET /v2/library/app/blobs/<amd-attested.config>',
      'GET /v2/library/app/blobs/<amd-attested.layer0>',
      'GET /v2/library/app/blobs/<amd.config>',
      'GET /v2/library/app/blobs/<amd.layer0>',
      'GET /v2/library/app/manifests/<amd-attested>',
      'GET /v2/library/app/manifests/<amd>',
      'GET /v2/library/app/manifests/<index>',
    ],
  );
  t.deepEqual((await site.sync.status()).counts, { ready: 1, partial: 0, stale: 0, unresolved: 0 });
  // Online, what was not chosen is a pull like any other.
  t.is((await site.manifest(REPOSITORY, attests.arm.manifest.digest)).status, 200);
  await site.close();

  registry.clear();
  const { connections } = registry;
  const off = await Site.start(t, { registry, storePath, offline: true });
  t.true((await off.manifest(REPOSITORY, 'v1')).body.equals(index.bytes));
  t.is((await off.manifest(REPOSITORY, images.amd.manifest.digest)).status, 200);
  const refused = await off.manifest(REPOSITORY, images.arm.manifest.digest);
  t.is(refused.status, 404);
  t.deepEqual(JSON.parse(refused.body.toString()), {
    errors: [
      {
        code: 'MANIFEST_UNKNOWN',
        message: `${APP} is mirrored here without linux/arm64, and this site is offline`,
        detail: {
          upstream: UPSTREAM,
          digest: images.arm.manifest.digest,
          index: index.digest,
          platform: 'linux/arm64',
        },
      },
    ],
  });
  t.is(registry.connections, connections);
});

test('an index in an index is followed', async (t) => {
  const platform = { os: 'linux', architecture: 'amd64' };
  const [wanted, other] = [image('wanted'), image('other', [400], 's390x')];
  const inner = buildIndex([
    { image: wanted, platform },
    { image: other, platform: { os: 'linux', architecture: 's390x' } },
  ]);
  const outer = storeJson(
    { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [descriptorOf(inner.manifest)] },
    MEDIA_TYPES.index,
  );
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, platforms: ['linux/amd64'] })],
  });
  site.registry.addIndex(REPOSITORY, undefined, inner, { name: 'inner' });
  site.registry.addManifest(REPOSITORY, outer, { tags: ['v1'], name: 'outer' });
  t.true((await site.run()).isOk);
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<inner.0.config>',
    'GET /v2/library/app/blobs/<inner.0.layer0>',
    'GET /v2/library/app/manifests/<inner.0>',
    'GET /v2/library/app/manifests/<inner>',
    'GET /v2/library/app/manifests/<outer>',
    'HEAD /v2/library/app/manifests/v1',
  ]);
});

/** An image with a signature by the API, an SBOM of the signature, and a cosign tag. */
function attach(site: Site, how: 'api' | 'fallback') {
  const { registry } = site;
  const app = image('app');
  const artifactType = 'application/vnd.example.signature';
  const signature = buildArtifact({ seed: 's', artifactType, subject: app.manifest, layers: [61] });
  const sbom = buildArtifact({
    seed: 'b',
    artifactType,
    subject: signature.manifest,
    layers: [62],
  });
  const cosign = image('cosign', [63]);
  registry.addImage(REPOSITORY, 'v1', app, { name: 'app' });
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  registry.addImage(REPOSITORY, undefined, sbom, { name: 'sbom' });
  const cosignTag = `${app.manifest.digest.replace(':', '-')}.sig`;
  registry.addImage(REPOSITORY, cosignTag, cosign, { name: 'cosign' });
  if (how === 'fallback') {
    for (const [subject, referrer] of [
      [app, signature],
      [signature, sbom],
    ] as const) {
      const index = fallbackIndex([referrer]);
      registry.addManifest(REPOSITORY, index, { tags: [fallbackTag(subject.manifest.digest)] });
    }
  }
  return { app, signature, sbom, cosign, cosignTag };
}

const LAYERS = ['app', 'cosign', 'sbom', 'signature'].map(
  (name) => `GET /v2/library/app/blobs/<${name}.layer0>`,
);

for (const how of ['api', 'fallback'] as const) {
  test(`referrers of referrers come with the image: ${how}`, async (t) => {
    const site = await Site.start(t, {
      rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, referrers: true })],
      registryOptions: { referrers: how === 'api' ? 'api' : 'none' },
    });
    const { app, signature, cosign, cosignTag } = attach(site, how);
    t.true((await site.run()).isOk);
    t.deepEqual(
      site.asked().filter((line) => line.endsWith('layer0>')),
      LAYERS,
    );
    t.true((await site.run()).isOk);
    t.deepEqual(site.asked(), ['HEAD /v2/library/app/manifests/v1']);
    await site.registry.refuse();
    t.deepEqual((await site.sync.status()).counts, {
      ready: 1,
      partial: 0,
      stale: 0,
      unresolved: 0,
    });
    t.true((await site.manifest(REPOSITORY, cosignTag)).body.equals(cosign.manifest.bytes));
    for (const each of [app, signature, cosign]) {
      t.is((await site.blob(REPOSITORY, each.layer(0).digest)).status, 200);
    }
    const { storePath, registry, timer } = site;
    await site.close();
    const off = await Site.start(t, { registry, storePath, timer, offline: true });
    const listed = await off.manifest(REPOSITORY, fallbackTag(app.manifest.digest));
    const { manifests } = JSON.parse(listed.body.toString()) as { manifests: object[] };
    t.like(manifests, [{ digest: signature.manifest.digest }]);
  });
}

test('without referrers nothing is asked about them', async (t) => {
  const site = await Site.start(t, { rules: [named('v1')] });
  attach(site, 'api');
  t.true((await site.run()).isOk);
  t.deepEqual(site.asked(), [
    'GET /v2/library/app/blobs/<app.config>',
    'GET /v2/library/app/blobs/<app.layer0>',
    'GET /v2/library/app/manifests/<app>',
    'HEAD /v2/library/app/manifests/v1',
  ]);
});

test('a signature that moves upstream is here as it was until the new one is', async (t) => {
  const site = await Site.start(t, {
    rules: [rule(REPOSITORY, { tags: { names: ['v1'] }, referrers: true })],
  });
  const { registry, timer } = site;
  const { cosign, cosignTag } = attach(site, 'api');
  t.true((await site.run()).isOk);
  const resigned = image('resigned', [64]);
  registry.addImage(REPOSITORY, cosignTag, resigned);
  registry.status(resigned.layer(0), 404, { times: Infinity });
  await timer.advance(24 * 3_600_000);
  const failed = await site.run();
  t.deepEqual(
    failed.failures.map(({ reason }) => reason),
    [`the upstream has no ${resigned.layer(0).digest}`],
  );
  registry.status(cosignTag, 503, { times: Infinity });
  t.true((await site.manifest(REPOSITORY, cosignTag)).body.equals(cosign.manifest.bytes));
  registry.heal();
  await timer.advance(24 * 3_600_000);
  t.true((await site.run()).isOk);
  await registry.refuse();
  t.true((await site.manifest(REPOSITORY, cosignTag)).body.equals(resigned.manifest.bytes));
});
