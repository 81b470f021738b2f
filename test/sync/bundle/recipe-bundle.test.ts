/** Bundles that make layers of those that the site holds: what they carry, and what the site has then. */
import { gzipSync } from 'node:zlib';
import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import { pino } from 'pino';
import type { BundleDraft } from '../../../src/api/bundle-api.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { findRecipes } from '../../../sync/bundle/draft-recipes.ts';
import type { Recipe } from '../../../sync/bundle/recipe.ts';
import { get } from '../../helpers/client.ts';
import {
  buildImage,
  buildIndex,
  MEDIA_TYPES,
  randomBytes,
  store,
  type Image,
} from '../../helpers/image.ts';
import { blobPath } from '../../helpers/mirror.ts';
import { bring, REGISTRY, startAirGapped, trusted } from './brought-bundle.ts';
import { Connected } from './connected.ts';
import {
  chunkedLayer,
  stargzLayer,
  tarOf,
  type FramedLayer,
  type LayerFile,
} from './framed-layer.ts';
import { Gap, REPOSITORY } from './gap.ts';
import { fetchInventory } from './read-site.ts';

const FILES = filesOf('file');
const CHANGED = FILES.with(20, { name: 'usr/lib/20', bytes: randomBytes('changed', 4000) });
const BASE = randomBytes('base', 20_000);

function filesOf(seed: string): LayerFile[] {
  return Array.from({ length: 30 }, (_, index) => ({
    name: `usr/lib/${index}`,
    bytes: randomBytes(`${seed} ${index}`, 4000),
  }));
}

function imageOf(seed: string, ...layers: readonly Buffer[]): Image {
  return buildImage({ seed, layers: layers.map((bytes) => store(bytes, MEDIA_TYPES.layer)) });
}

function chunked(seed: string, files: readonly LayerFile[]): Image {
  return imageOf(seed, BASE, chunkedLayer(files).bytes);
}

function digests(list: readonly { readonly digest: string }[]): string[] {
  return list.map(({ digest }) => digest).toSorted();
}

/** Which layer each recipe makes, and of which. */
function lineages({ recipes = [] }: BundleDraft): (readonly [string, readonly string[]])[] {
  return recipes.map(({ digest, sources }) => [digest, sources]);
}

const KINDS = { 'zstd:chunked': chunkedLayer, eStargz: stargzLayer };

for (const [kind, layerOf] of Object.entries(KINDS)) {
  test(`of a layer of ${kind} with one changed file the bundle carries what is new, and the site makes it`, async (t) => {
    const gap = await Gap.open(t);
    const [old, fresh]: [FramedLayer, FramedLayer] = [layerOf(FILES), layerOf(CHANGED)];
    const before = imageOf('v1', BASE, old.bytes);
    const after = imageOf('v2', BASE, fresh.bytes);
    const full = await gap.bringTag('v1', before);
    t.is(full.recipes, undefined);
    gap.registry.addImage(REPOSITORY, 'v1', after);
    const { draft, bundle } = await gap.pack(['v1']);
    t.deepEqual(digests(draft.blobs), digests([after.manifest, after.config]));
    t.deepEqual(digests(draft.needs), digests([after.layer(0), before.layer(1)]));
    t.deepEqual(lineages(draft), [[after.layer(1).digest, [before.layer(1).digest]]]);
    const [recipe] = draft.recipes!;
    const held = new Set(old.frames.map((frame) => frame.toString('latin1')));
    const news = fresh.frames.filter((frame) => !held.has(frame.toString('latin1')));
    const carried = Buffer.concat(news).length;
    // And what tells where the rest is.
    const told = recipe!.recipe.size - carried;
    t.true(told > 0 && told < 60, String(told));
    t.true(recipe!.recipe.size < recipe!.size / 10);
    const path = bundle.manifest.recipes![0]!.digest.replace(':', '/');
    t.true((await bundle.part(1)).includes(`recipes/${path}`));
    const { report } = await gap.bringAll(bundle);
    // The manifest, the config and the layer.
    t.like(report, { images: 1, blobs: 3 });
    await gap.requireServed('v1', after);
    t.false(existsSync(blobPath(gap.site.storePath, recipe!.recipe.digest)));
    // The same once more, which is all there: nothing is written.
    gap.site.server.store.blobs.ingest = async (digest) => t.fail(`${digest} was written`);
    t.like((await gap.bringAll(bundle))['report'], { blobs: 0 });
    t.false(existsSync(blobPath(gap.site.storePath, recipe!.recipe.digest)));
    await gap.requireServed('v1', after);
  });
}

test('a recipe that is cut comes in parts of any order, also over a restart of the site', async (t) => {
  const gap = await Gap.open(t, { leftovers: { partials: true } });
  await gap.bringTag('v1', chunked('v1', FILES));
  const large = { name: 'usr/lib/20', bytes: randomBytes('large', 30_000) };
  const after = chunked('v2', FILES.with(20, large));
  gap.registry.addImage(REPOSITORY, 'v1', after);
  const { bundle } = await gap.pack(['v1'], { partBytes: 20_000 });
  const { recipes, cuts } = bundle.manifest;
  const place = 2 + bundle.manifest.blobs.length;
  t.true(recipes!.length === 1 && cuts.some(([entry, start]) => entry === place && start > 0));
  const [first, ...others] = (await bundle.all()).toReversed();
  await gap.bring(first!);
  await gap.restartSite();
  for (const part of others) await gap.bring(part);
  await gap.requireServed('v1', after);
});

test('a layer of plain gzip is carried whole', async (t) => {
  const gap = await Gap.open(t);
  const gzipped = (files: readonly LayerFile[]) => gzipSync(tarOf(files));
  await gap.bringTag('v1', imageOf('v1', gzipped(FILES)));
  const after = imageOf('v2', gzipped(CHANGED));
  gap.registry.addImage(REPOSITORY, 'v1', after);
  const { draft, bundle } = await gap.pack(['v1']);
  t.deepEqual(draft.recipes, undefined);
  t.deepEqual(digests(draft.blobs), digests([after.manifest, ...after.blobs]));
  await gap.bringAll(bundle);
  await gap.requireServed('v1', after);
});

test('a layer whose earlier version is held here no more is carried whole', async (t) => {
  const gap = await Gap.open(t);
  const before = chunked('v1', FILES);
  await gap.bringTag('v1', before);
  gap.registry.addImage(REPOSITORY, 'v1', chunked('v2', CHANGED));
  const { blobs, catalog } = gap.connected.server.store;
  const digest = before.layer(1).digest as never;
  await catalog.forgetBlob(digest);
  await blobs.delete(digest);
  t.is((await gap.pack(['v1'])).draft.recipes, undefined);
});

test('a new tag builds on the image with the tag before it, or behind it', async (t) => {
  const gap = await Gap.open(t);
  const images = new Map<string, Image>();
  for (const tag of ['1.9', '1.10', '2.0', 'sha256-1.sig']) {
    const image = chunked(tag, filesOf(tag));
    images.set(tag, image);
    await gap.bringTag(tag, image);
  }
  for (const [tag, before] of [
    ['1.11', '1.10'],
    ['1.8', '1.9'],
    ['3.0', '2.0'],
  ] as const) {
    const files = filesOf(before).with(5, { name: 'new', bytes: randomBytes(tag, 100) });
    const image = chunked(tag, files);
    gap.registry.addImage(REPOSITORY, tag, image);
    const { draft } = await gap.pack([tag]);
    t.deepEqual(lineages(draft), [[image.layer(1).digest, [images.get(before)!.layer(1).digest]]]);
  }
});

test('of an index each platform builds on its own layers, those at the same place first', async (t) => {
  const gap = await Gap.open(t);
  const build = (seed: string, change: (files: LayerFile[]) => LayerFile[]) =>
    (['amd64', 'arm64'] as const).map((architecture) => {
      const layers = [1, 2, 3, 4, 5, 6].map(
        (place) => chunkedLayer(change(filesOf(`${architecture} ${place}`))).bytes,
      );
      return {
        image: imageOf(`${seed} ${architecture}`, ...layers),
        platform: { os: 'linux', architecture },
      };
    });
  const before = build('v1', (files) => files);
  const after = build('v2', (files) => files.with(3, CHANGED[20]!));
  gap.registry.addIndex(REPOSITORY, 'v1', buildIndex(before));
  await gap.bringAll((await gap.pack(['v1'])).bundle);
  const index = buildIndex(after);
  gap.registry.addIndex(REPOSITORY, 'v1', index);
  const { draft, bundle } = await gap.pack(['v1']);
  const expected = after.flatMap(({ image }, at) =>
    image.layers.map(({ digest }, place) => [digest, [before[at]!.image.layer(place).digest]]),
  );
  t.deepEqual(lineages(draft), expected.toSorted(([a], [b]) => (a! < b! ? -1 : 1)) as never);
  await gap.bringAll(bundle);
  for (const { image } of after) await gap.requireServed(image.manifest.digest, image);
});

test('bundle create tells what recipes save, and writes the same bytes again', async (t) => {
  const maker = await Connected.start(t);
  const site = await startAirGapped(t, {
    bundles: { trust: { maker: trusted(maker.key) } },
  });
  const wanted = `${REGISTRY}/${REPOSITORY}:v1`;
  const importBundle = async (name: string): Promise<void> => {
    const { status, body } = await bring(site, readFileSync(maker.path(name)));
    t.is(status, 200, JSON.stringify(body));
  };
  const [before, after] = [chunked('v1', FILES), chunked('v2', CHANGED)];
  maker.registry.addImage(REPOSITORY, 'v1', before);
  await maker.create(wanted, '--out', 'full.tar');
  await importBundle('full.tar');
  maker.write('site.inventory', await fetchInventory(t, site));
  maker.registry.addImage(REPOSITORY, 'v1', after);
  const args = [wanted, '--for', 'site.inventory'];
  const made = await maker.create(...args, '--out', 'next.tar');
  t.deepEqual([made.code, made.stderr], [0, '']);
  t.regex(
    made.stdout,
    /\ncarries +1 image with 1 tag, 2 blobs of \S+ \S+\nrebuilds +1 layer of 1\d\d KiB from those that the site has and [34]\.\d+ KiB of what is new: saves 11\d KiB\n/,
  );
  const again = await maker.create(...args, '--out', 'again.tar', '--json');
  const { rebuilt } = JSON.parse(again.stdout) as { rebuilt: Record<string, number> };
  t.like(rebuilt, { layers: 1, bytes: after.layer(1).size });
  const [next, same] = ['next.tar', 'again.tar'].map((name) => readFileSync(maker.path(name)));
  t.true(next!.equals(same!));
  t.true(next!.length < after.layer(1).size / 5);
  await importBundle('next.tar');
  const path = `/v2/${REPOSITORY}/blobs/${after.layer(1).digest}?ns=${REGISTRY}`;
  t.true((await get(`${site.url}${path}`)).body.equals(after.layer(1).bytes));
});

test('recipes have so much memory; layers that have no room there are carried, and what is read is leased', async (t) => {
  const gap = await Gap.open(t);
  const layersOf = (files: LayerFile[], ...seeds: readonly string[]) =>
    seeds.map(
      (seed) => chunkedLayer([{ name: seed, bytes: randomBytes(seed, 100) }, ...files]).bytes,
    );
  const before = imageOf('v1', ...layersOf(FILES, 'a', 'b'));
  const after = imageOf('v2', ...layersOf(CHANGED, 'a', 'b'));
  for (const image of [before, after]) gap.registry.addImage(REPOSITORY, 'v1', image);
  gap.registry.addImage(REPOSITORY, 'v0', before);
  await gap.pack(['v0', 'v1']);
  const { catalog, blobs } = gap.connected.server.store;
  const leased = new Map<string, boolean>();
  const find = blobs.find.bind(blobs);
  blobs.find = async (digest, ...rest) => {
    leased.set(digest, blobs.isBusy(digest));
    return find(digest, ...rest);
  };
  const content = {
    images: [{ name: `${REGISTRY}/${REPOSITORY}`, tag: 'v1', ...after.manifest }],
    blobs: after.blobs.map(({ digest, size }) => ({ digest, size })),
    needs: [],
  };
  const parts = {
    catalog,
    blobs,
    log: pino({ level: 'silent' }),
    now: Date.now,
    signal: new AbortController().signal,
    holdings: {
      has: async (digest: string) => before.blobs.some((blob) => blob.digest === digest),
    },
    siteImages: [
      {
        name: `${REGISTRY}/${REPOSITORY}`,
        tag: 'v1' as Tag,
        digest: before.manifest.digest as Digest,
      },
    ],
  };
  const all = await findRecipes(parts, content);
  t.is(all.content.recipes?.length, 2);
  const [{ weight }] = [...all.recipes.values()] as [Recipe];
  const one = await findRecipes({ ...parts, mostWeight: 1.5 * weight }, content);
  t.is(one.content.recipes?.length, 1);
  t.is(one.content.blobs.length, all.content.blobs.length + 1);
  const none = await findRecipes({ ...parts, mostWeight: 0 }, content);
  t.deepEqual(none.content, content);
  t.deepEqual(
    before.layers.map(({ digest }) => leased.get(digest)),
    [true, true],
  );
  const ended = { ...parts, signal: AbortSignal.abort(new Error('ended')) };
  await t.throwsAsync(findRecipes(ended, content), { message: 'ended' });
});
