import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Digest } from '../../../src/oci/digest.ts';
import { RegistryError } from '../../../src/oci/errors.ts';
import type { ReadInventory } from '../../../sync/bundle/inventory-file.ts';
import { SiteInventory } from '../../../sync/bundle/site-inventory.ts';
import { get } from '../../helpers/client.ts';
import { FakeRegistry } from '../../helpers/fake-registry.ts';
import {
  buildArtifact,
  buildBlob,
  buildImage,
  buildIndex,
  fallbackIndex,
  fallbackTag,
  type Image,
} from '../../helpers/image.ts';
import { blobPath, startMirror, type TestMirror } from '../../helpers/mirror.ts';
import { fetchInventory, pull, pullImage, readSite } from './read-site.ts';

const UPSTREAM = 'hub.example';
const NAME = `${UPSTREAM}/org/app`;
const NOTHING = { complete: [], partial: [], blobs: [], images: [] };
const [amd64, arm64] = ['amd64', 'arm64'].map((architecture) => {
  const platform = { os: 'linux', architecture };
  return { platform, image: buildImage({ seed: architecture, layers: [900, 800], platform }) };
}) as [Child, Child];
const index = buildIndex([amd64, arm64]);

interface Child {
  readonly image: Image;
  readonly platform: { readonly os: string; readonly architecture: string };
}

interface Place {
  readonly registry: FakeRegistry;
  readonly mirror: TestMirror;
}

async function startSite(t: ExecutionContext): Promise<Place> {
  const registry = await FakeRegistry.start(t);
  const mirror = await startMirror(t, { upstreams: { [UPSTREAM]: { url: registry.url } } });
  return { registry, mirror };
}

/** All that an inventory tells of holdings, with the bytes of masks. */
function told({ complete, partial, blobs, images }: ReadInventory) {
  return {
    complete: [...complete],
    partial: [...partial].map(([digest, { bytes }]) => [digest, ...bytes!].join(' ')),
    blobs: [...blobs],
    images: images.map(({ name, tag, digest }) => `${name}:${tag ?? ''}@${digest}`),
  };
}

test('an image that is held is told with its digest alone, and its tags', async (t) => {
  const { registry, mirror } = await startSite(t);
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage('org/app', 'v1', image);
  registry.tag('org/app', 'latest', image.manifest.digest);
  t.deepEqual(told(await readSite(t, mirror)), NOTHING);
  await pull(t, mirror, 'org/app', 'manifests/latest', 'manifests/v1');
  await pullImage(t, mirror, 'org/app', image);
  const { digest } = image.manifest;
  const site = await readSite(t, mirror);
  t.deepEqual(told(site), {
    ...NOTHING,
    complete: [digest],
    images: [`${NAME}:latest@${digest}`, `${NAME}:v1@${digest}`],
  });
  t.is(site.site, mirror.server.store.id!);
});

test('of an image that is held in part, the mask says which blobs are', async (t) => {
  const { registry, mirror } = await startSite(t);
  const image = buildImage({ seed: 'app', layers: Array.from({ length: 9 }, (_, at) => 100 + at) });
  registry.addImage('org/app', 'v1', image);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  const { digest } = image.manifest;
  const images = [`${NAME}:v1@${digest}`];
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, partial: [digest], images });
  const [config, first, last] = [image.config, image.layer(0), image.layer(8)];
  for (const blob of [config, first]) await pull(t, mirror, 'org/app', `blobs/${blob.digest}`);
  const partial = [`${digest} 3`];
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, partial, images });
  await pull(t, mirror, 'org/app', `blobs/${last.digest}`);
  t.deepEqual(told(await readSite(t, mirror)).partial, [`${digest} 3 2`]);
});

test('of an index, the mask says which platforms are held with all that they list', async (t) => {
  const { registry, mirror } = await startSite(t);
  registry.addIndex('org/app', 'v1', index);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  await pullImage(t, mirror, 'org/app', arm64.image);
  const { digest } = index.manifest;
  const images = [`${NAME}:v1@${digest}`];
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, partial: [`${digest} 2`], images });

  // A platform that is held in part says so itself.
  const { manifest, config } = amd64.image;
  await pull(t, mirror, 'org/app', `manifests/${manifest.digest}`, `blobs/${config.digest}`);
  const both = told(await readSite(t, mirror));
  t.deepEqual(both.partial, [`${digest} 2`, `${manifest.digest} 1`].toSorted());
  t.deepEqual(both.images, [`${NAME}:@${manifest.digest}`, ...images]);

  await pullImage(t, mirror, 'org/app', amd64.image);
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, complete: [digest], images });
});

test('a platform with a tag of its own is told for itself', async (t) => {
  const { registry, mirror } = await startSite(t);
  registry.addIndex('org/app', 'v1', index);
  const { digest } = amd64.image.manifest;
  registry.tag('org/app', 'v1-amd64', digest);
  await pull(t, mirror, 'org/app', 'manifests/v1', 'manifests/v1-amd64');
  for (const { image } of [amd64, arm64]) await pullImage(t, mirror, 'org/app', image);
  const { complete, images } = told(await readSite(t, mirror));
  t.deepEqual(complete, [digest, index.manifest.digest].toSorted());
  t.deepEqual(images, [`${NAME}:v1@${index.manifest.digest}`, `${NAME}:v1-amd64@${digest}`]);
});

test('referrers and the signatures of cosign are told for themselves', async (t) => {
  const { registry, mirror } = await startSite(t);
  const image = buildImage({ seed: 'app', layers: [1000] });
  const subject = image.manifest;
  const sbom = buildArtifact({ seed: 'sbom', artifactType: 'application/spdx+json', subject });
  const cosigned = buildImage({ seed: 'cosigned', layers: [70] });
  const signature = `${fallbackTag(subject.digest)}.sig`;
  registry.addImage('org/app', 'v1', image);
  registry.addImage('org/app', undefined, sbom);
  registry.addImage('org/app', signature, cosigned);
  await pull(t, mirror, 'org/app', 'manifests/v1', `manifests/${signature}`);
  for (const each of [image, sbom, cosigned]) await pullImage(t, mirror, 'org/app', each);
  const { complete, images } = told(await readSite(t, mirror));
  const digests = [subject, sbom.manifest, cosigned.manifest].map(({ digest }) => digest);
  t.deepEqual(complete, digests.toSorted());
  t.deepEqual(images, [
    `${NAME}:@${sbom.manifest.digest}`,
    `${NAME}:${signature}@${cosigned.manifest.digest}`,
    `${NAME}:v1@${subject.digest}`,
  ]);

  // As registries without the referrers API list them.
  const list = registry.addManifest('org/app', fallbackIndex([sbom]), {
    tags: [fallbackTag(subject.digest)],
  });
  await pull(t, mirror, 'org/app', `manifests/${fallbackTag(subject.digest)}`);
  const listed = await readSite(t, mirror);
  t.true(listed.complete.has(list.digest as Digest));
  t.true(listed.complete.has(sbom.manifest.digest as Digest));
});

test('a layer that clients fetch from elsewhere is not missed', async (t) => {
  const { registry, mirror } = await startSite(t);
  const foreign = buildBlob('windows', 300, 'application/vnd.docker.image.rootfs.foreign.diff.tar');
  const image = buildImage({ seed: 'app', layers: [foreign, 200] });
  registry.addImage('org/app', 'v1', image);
  await pull(t, mirror, 'org/app', 'manifests/v1', `blobs/${image.config.digest}`);
  t.deepEqual(told(await readSite(t, mirror)).partial, [`${image.manifest.digest} 3`]);
  await pull(t, mirror, 'org/app', `blobs/${image.layer(1).digest}`);
  t.deepEqual(told(await readSite(t, mirror)).complete, [image.manifest.digest]);
});

test('a blob is told for itself as long as no held manifest lists it', async (t) => {
  const { registry, mirror } = await startSite(t);
  const { blobs, catalog } = mirror.server;
  const image = buildImage({ seed: 'app', layers: [1000] });
  registry.addImage('org/app', 'v1', image);
  const [{ digest }, brought] = [image.layer(0), buildBlob('brought', 50)];
  await pull(t, mirror, 'org/app', `blobs/${digest}`);
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, blobs: [digest] });
  await blobs.writeBytes(brought.digest as Digest, brought.bytes);
  await catalog.adoptBlob(brought.digest as Digest, { size: 50, storedAt: 1 });
  t.deepEqual(told(await readSite(t, mirror)).blobs, [digest, brought.digest].toSorted());
  await pull(t, mirror, 'org/app', 'manifests/v1');
  t.deepEqual(told(await readSite(t, mirror)).blobs, [brought.digest]);
});

test('what one repository holds and another one does not serve is told for the first alone', async (t) => {
  const { registry, mirror } = await startSite(t);
  const { digest } = index.manifest;
  registry.addIndex('org/app', 'v1', index);
  registry.addIndex('org/copy', 'v1', index);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  await pull(t, mirror, 'org/copy', 'manifests/v1');
  await pullImage(t, mirror, 'org/copy', amd64.image);
  const images = [`${UPSTREAM}/org/copy:v1@${digest}`];
  const partial = [`${digest} 1`];
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, partial, images });
  // Each has what the other one lacks.
  await pullImage(t, mirror, 'org/app', arm64.image);
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, partial: [`${digest} 3`] });
  await pullImage(t, mirror, 'org/copy', arm64.image);
  await pullImage(t, mirror, 'org/app', amd64.image);
  const { images: both } = told(await readSite(t, mirror));
  t.deepEqual(both, [`${UPSTREAM}/org/app:v1@${digest}`, ...images]);
});

test('a file that is gone or too short is not held', async (t) => {
  const { registry, mirror } = await startSite(t);
  const image = buildImage({ seed: 'app', layers: [1000, 2000] });
  registry.addImage('org/app', 'v1', image);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  await pullImage(t, mirror, 'org/app', image);
  await truncate(blobPath(mirror.storePath, image.layer(0).digest), 999);
  const { digest } = image.manifest;
  t.deepEqual(told(await readSite(t, mirror)).partial, [`${digest} 5`]);
  await truncate(blobPath(mirror.storePath, digest), 1);
  t.deepEqual(told(await readSite(t, mirror)), NOTHING);
  const lone = registry.addBlob('org/app', buildBlob('lone', 500));
  await pull(t, mirror, 'org/app', `blobs/${lone.digest}`);
  t.deepEqual(told(await readSite(t, mirror)).blobs, [lone.digest]);
  await truncate(blobPath(mirror.storePath, lone.digest), 499);
  t.deepEqual(told(await readSite(t, mirror)).blobs, []);
  await mirror.abandon();
});

test('what is evicted stands in the next inventory no more', async (t) => {
  const { registry, mirror } = await startSite(t);
  const [kept, gone] = ['kept', 'gone'].map((seed) => buildImage({ seed, layers: [1000] })) as [
    Image,
    Image,
  ];
  registry.addImage('org/app', 'kept', kept);
  registry.addImage('org/app', 'gone', gone);
  await pull(t, mirror, 'org/app', 'manifests/kept', 'manifests/gone');
  for (const image of [kept, gone]) await pullImage(t, mirror, 'org/app', image);
  t.is((await readSite(t, mirror)).complete.size, 2);
  const { status } = await fetch(`${mirror.server.adminUrl}/api/v1/rm`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image: `${NAME}:gone` }),
  });
  t.is(status, 200);
  const { digest } = kept.manifest;
  t.deepEqual(told(await readSite(t, mirror)), {
    ...NOTHING,
    complete: [digest],
    images: [`${NAME}:kept@${digest}`],
  });
});

test('the same holdings make the same bytes, also after a restart and for several at once', async (t) => {
  const { registry, mirror } = await startSite(t);
  registry.addIndex('org/app', 'v1', index);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  await pullImage(t, mirror, 'org/app', amd64.image);
  const [first, ...others] = await Promise.all(
    Array.from({ length: 3 }, async () => fetchInventory(t, mirror)),
  );
  others.push(await fetchInventory(t, mirror));
  t.is((await stat(join(mirror.storePath, 'site.key'))).mode & 0o777, 0o600);
  const { id } = (await readSite(t, mirror)).key;
  await mirror.stop();
  const { storePath } = mirror;
  const next = await startMirror(t, {
    storePath,
    upstreams: { [UPSTREAM]: { url: registry.url } },
  });
  others.push(await fetchInventory(t, next));
  t.is((await readSite(t, next)).key.id, id);
  for (const other of others) t.deepEqual(other, first);
});

test('a store that takes no writes and has no key says so', async (t) => {
  const { mirror } = await startSite(t);
  mirror.server.blobs.isReadOnly = true;
  const answer = await fetch(`${mirror.server.adminUrl}/api/v1/inventory`);
  t.deepEqual(
    [answer.status, await answer.json()],
    [
      503,
      {
        error:
          'the store has no key to sign with, since its disk takes no writes: see "entrepot status"',
      },
    ],
  );
  mirror.server.blobs.isReadOnly = false;
  t.is((await readSite(t, mirror)).site, mirror.server.store.id!);
  mirror.server.blobs.isReadOnly = true;
  t.is((await readSite(t, mirror)).site, mirror.server.store.id!);
});

test('repositories whose names begin alike keep their own tags', async (t) => {
  const { registry, mirror } = await startSite(t);
  const repositories = ['org/a', 'org/a-b', 'org/a.b', 'org/a/b', 'org/a0', 'org/a_b', 'org/ab'];
  for (const repository of repositories) {
    const image = buildImage({ seed: repository, layers: [100] });
    registry.addImage(repository, 'v1', image);
    registry.addImage(repository, undefined, buildImage({ seed: `${repository} 2`, layers: [90] }));
    await pull(t, mirror, repository, 'manifests/v1');
    await pullImage(t, mirror, repository, image);
  }
  const { complete, images } = told(await readSite(t, mirror));
  t.is(complete.length, repositories.length);
  const names = images.map((each) => each.replace(/@.*/, ''));
  t.deepEqual(
    names,
    repositories.toSorted().map((each) => `${UPSTREAM}/${each}:v1`),
  );
});

test('what came through another upstream is not served through this one', async (t) => {
  const registry = await FakeRegistry.start(t);
  const upstreams = { 'a.example': { url: registry.url }, 'b.example': { url: registry.url } };
  const mirror = await startMirror(t, { upstreams });
  const image = buildImage({ seed: 'app', layers: [1000] });
  registry.addImage('org/app', 'v1', image);
  const { digest } = image.manifest;
  const from = (upstream: string) => async (path: string) =>
    get(`${mirror.url}/v2/org/app/${path}?ns=${upstream}`);
  const [a, b] = [from('a.example'), from('b.example')];
  await a('manifests/v1');
  await b('manifests/v1');
  for (const blob of image.blobs) await b(`blobs/${blob.digest}`);
  await mirror.idle();
  const images = [`b.example/org/app:v1@${digest}`];
  t.deepEqual(told(await readSite(t, mirror)), { ...NOTHING, complete: [digest], images });
  for (const blob of image.blobs) await a(`blobs/${blob.digest}`);
  await mirror.idle();
  t.deepEqual(told(await readSite(t, mirror)).images, [
    `a.example/org/app:v1@${digest}`,
    ...images,
  ]);
});

test('one that is being made ends with the server, and says so', async (t) => {
  const { registry, mirror } = await startSite(t);
  registry.addIndex('org/app', 'v1', index);
  await pull(t, mirror, 'org/app', 'manifests/v1');
  const inventory = new SiteInventory({ store: mirror.server.store, applied: () => new Map() });
  const making = inventory.make();
  inventory.stop();
  const error = await t.throwsAsync(making, { instanceOf: RegistryError });
  t.is(error.status, 503);
  t.is(error.message, 'the server is stopping: ask for the inventory again when it runs');
  await inventory.closed();
});
