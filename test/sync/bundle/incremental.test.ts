import test from 'ava';
import { buildArtifact, buildImage, type Image } from '../../helpers/image.ts';
import { rule, syncConfig } from '../rules.ts';
import { Connected } from './connected.ts';
import { addIndexed, APP, filesOf, REPOSITORY, sorted } from './draft-world.ts';
import { inventoryOf, SITE, type HeldImage } from './site-of.ts';

const base64 = async (
  held: readonly HeldImage[],
  applied?: Readonly<Record<string, number>>,
): Promise<string> => (await inventoryOf(held, applied)).toString('base64');

function tagged(tag: string, image: HeldImage['image']): HeldImage {
  return { name: APP, tag, image };
}

test('for a site that has the version before, a draft carries the changed layer, its config and its manifest', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  const base = buildImage({ seed: 'base', layers: [3000, 2000] });
  const changed = buildImage({ seed: 'changed', layers: [base.layer(0), 700] });
  const same = buildImage({ seed: 'same', layers: [400] });
  registry.addImage(REPOSITORY, 'v1', base);
  registry.addImage(REPOSITORY, 'same', same);
  const images = ['v1', 'same'].map((tag) => `${APP}:${tag}`);
  const inventory = await base64([tagged('v1', base), tagged('same', same)]);
  // The site's images are known here by their manifests.
  await drafts.draft({ images });
  registry.addImage(REPOSITORY, 'v1', changed);
  const { draft, there } = await drafts.report({ images, inventory });
  t.deepEqual(
    draft?.images.map(({ tag, digest }) => [tag, digest]),
    [['v1', changed.manifest.digest]],
  );
  t.deepEqual(draft?.blobs, sorted([changed.manifest, changed.config, changed.layer(1)]));
  t.deepEqual(draft?.needs, sorted([base.layer(0)]));
  t.is(draft?.site, SITE);
  const held = sorted([base.layer(0), ...filesOf(same)]);
  const bytes = held.reduce((sum, { size }) => sum + size, 0);
  t.deepEqual(there, { images: 1, blobs: held.length, bytes });
});

test('a tag that moves to an image that the site has carries no blob, and an image under another name neither', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  const [one, two] = ['one', 'two'].map((seed) => buildImage({ seed, layers: [500] })) as [
    Image,
    Image,
  ];
  registry.addImage(REPOSITORY, 'v1', one);
  registry.addImage(REPOSITORY, 'v2', two);
  registry.addImage('library/copy', 'v2', two);
  const inventory = await base64([tagged('v1', one), tagged('v2', two)]);
  await drafts.draft({ images: [`${APP}:v1`, `${APP}:v2`] });
  registry.tag(REPOSITORY, 'v1', two.manifest);
  const copy = APP.replace('app', 'copy');
  const draft = await drafts.draft({ images: [`${APP}:v1`, `${copy}:v2`], inventory });
  t.deepEqual(draft.blobs, []);
  t.deepEqual(draft.needs, filesOf(two));
  t.deepEqual(
    draft.images.map(({ name, tag, digest }) => [name, tag, digest]),
    [
      [APP, 'v1', two.manifest.digest],
      [copy, 'v2', two.manifest.digest],
    ],
  );
});

test('of an image that the site has, what was attached since is carried alone, and needs it', async (t) => {
  const { registry, drafts } = await Connected.start(t);
  const world = addIndexed(registry);
  const { index, amd64, arm64, signature, cosigned, cosignTag } = world;
  const held = [
    tagged('multi', index),
    { name: APP, image: signature },
    tagged(cosignTag, cosigned),
  ];
  const images = [`${APP}:multi`];
  await drafts.draft({ images });
  const all = await drafts.draft({ images, inventory: await base64(held) });
  t.deepEqual([all.images, all.blobs, all.needs], [[], [], []]);
  const artifactType = 'application/vnd.example.sbom';
  const sbom = buildArtifact({ seed: 'sbom', artifactType, subject: amd64.manifest });
  registry.addImage(REPOSITORY, undefined, sbom);
  const draft = await drafts.draft({ images, inventory: await base64(held) });
  t.deepEqual(
    draft.images.map(({ digest, subject }) => [digest, subject]),
    [[sbom.manifest.digest, amd64.manifest.digest]],
  );
  // Its empty config is that of the signature.
  t.deepEqual(draft.blobs, sorted([sbom.manifest, sbom.layer(0)]));
  t.deepEqual(draft.needs, sorted([sbom.config, amd64.manifest]));
  t.true(all.needs.length === 0 && arm64.blobs.length > 0);
});

test('the number counts up with what a draft is made of, above what the site has applied', async (t) => {
  const { registry, mirror, drafts } = await Connected.start(t);
  const series = mirror.server.store.id!;
  for (const tag of ['v1', 'v2']) {
    registry.addImage(REPOSITORY, tag, buildImage({ seed: tag, layers: [100] }));
  }
  const number = async (tag: string, applied?: Readonly<Record<string, number>>) => {
    const inventory = applied && (await base64([], applied));
    const draft = await drafts.draft({
      images: [`${APP}:${tag}`],
      ...(inventory && { inventory }),
    });
    return draft.number;
  };
  t.deepEqual([await number('v1'), await number('v1')], [1, 1]);
  t.deepEqual([await number('v2'), await number('v1')], [2, 3]);
  t.is(await number('v1', {}), 4);
  t.is(await number('v1', { [series]: 3, [SITE]: 100 }), 4);
  t.is(await number('v1', { [series]: 4 }), 5);
  t.is(await number('v1', { [series]: 40 }), 41);
  t.is(await number('v1', { [series]: 40 }), 41);
});

test('an image that the rules take no more is released at the site, where the series brought it', async (t) => {
  const names = (...tags: string[]) => syncConfig([rule(REPOSITORY, { tags: { names: tags } })]);
  const { registry, mirror, drafts } = await Connected.start(t, { sync: names('v1', 'v2', 'v3') });
  const images = ['v1', 'v2', 'v3', 'own'].map((tag) => {
    const image = buildImage({ seed: tag, layers: [100] });
    registry.addImage(REPOSITORY, tag, image);
    return tagged(tag, image);
  });
  const inventory = await base64(images.slice(0, 2).concat(images.slice(3)));
  t.deepEqual((await drafts.draft({ inventory })).released, []);
  const { config } = mirror;
  const reloaded = await mirror.reload({
    upstreams: config.upstreams,
    admin: config.admin,
    sync: names('v1', 'v3'),
  });
  t.is(reloaded.status, 200);
  // The tag "own" is nothing of the series, and v3 is not at the site.
  t.deepEqual((await drafts.draft({ inventory })).released, [`${APP}:v2`]);
  t.deepEqual((await drafts.draft({ inventory, images: [`${APP}:v3`] })).released, []);
  t.deepEqual((await drafts.draft()).released, []);
});
