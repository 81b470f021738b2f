import test from 'ava';
import type { BundledImage } from '../../../src/api/bundle-api.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import type { Member } from '../../../src/store/catalog/catalog.ts';
import { findLineages } from '../../../sync/bundle/earlier-layers.ts';
import { MEDIA_TYPES } from '../../helpers/image.ts';

const APP = 'hub.example/org/app';

function digest(name: string): Digest {
  return digestOf(Buffer.from(name));
}

/** Manifests by name, each with what it lists: an index lists `manifest platform`. */
type Manifests = Readonly<Record<string, readonly string[]>>;

interface Question {
  readonly manifests: Manifests;
  /** The image that is carried, at which tag. */
  readonly wanted: readonly [name: string, tag?: string];
  /** Tags of the site, and what they mean. */
  readonly site: Readonly<Record<string, string>>;
  /** What the site has not. */
  readonly lacking?: readonly string[];
  /** Layers that are not carried. */
  readonly there?: readonly string[];
}

/** Each layer with the earlier ones, by name. */
async function lineages({ manifests, wanted, site, lacking = [], there = [] }: Question) {
  const names = new Map<string, string>();
  const named = (name: string): Digest => {
    names.set(digest(name), name);
    return digest(name);
  };
  const members = new Map(
    Object.entries(manifests).map(([name, list]) => [named(name), list.map(memberOf)]),
  );
  function memberOf(text: string): Member {
    const [name = '', platform] = text.split(' ');
    const isManifest = Object.hasOwn(manifests, name);
    const mediaType = isManifest ? MEDIA_TYPES.manifest : MEDIA_TYPES.layer;
    return { digest: named(name), size: 1, mediaType, ...(platform !== undefined && { platform }) };
  }
  const [image, tag] = wanted;
  const carried = [...members.values()]
    .flat()
    .filter((each) => !there.map(digest).includes(each.digest));
  const images: BundledImage[] = [
    { name: APP, digest: digest(image), mediaType: '', size: 1, ...(tag !== undefined && { tag }) },
  ];
  const parts = {
    catalog: {
      members: async (each: Digest) => {
        const successors = members.get(each);
        return successors && { successors };
      },
    },
    holdings: { has: async (each: Digest) => !lacking.map(digest).includes(each) },
    siteImages: Object.entries(site).map(([each, name]) => ({
      name: APP,
      tag: each as Tag,
      digest: digest(name),
    })),
  };
  const found = await Array.fromAsync(findLineages(parts, { images, blobs: carried }));
  return Object.fromEntries(
    found.map((lineage) => [
      names.get(lineage.digest),
      lineage.earlier.map((each) => names.get(each)).join(' '),
    ]),
  );
}

test('the layer at the same place comes first, then those beside it, four at most', async (t) => {
  const manifests = {
    new: ['a1', 'b1', 'c1', 'd1', 'e1', 'f1'],
    old: ['a', 'b', 'c', 'd', 'e', 'f'],
  };
  t.deepEqual(await lineages({ manifests, wanted: ['new', 'v1'], site: { v1: 'old' } }), {
    a1: 'a b c d',
    b1: 'b a c d',
    c1: 'c b d a',
    d1: 'd c e b',
    e1: 'e d f c',
    f1: 'f e d c',
  });
});

test('what is not carried has no earlier ones; what the image has itself, and the site has not, is none', async (t) => {
  const manifests = { new: ['base', 'held', 'a1', 'b1'], old: ['base', 'x', 'a', 'b'] };
  t.deepEqual(
    await lineages({
      manifests,
      wanted: ['new', 'v1'],
      site: { v1: 'old' },
      lacking: ['x'],
      there: ['base', 'held'],
    }),
    { a1: 'a b', b1: 'b a' },
  );
});

test('images at the same tag, and at the tags before and behind it, are earlier ones', async (t) => {
  const manifests = {
    new: ['n'],
    ...Object.fromEntries(['1.2', '1.9', '1.10', '1.11', '2.0'].map((tag) => [tag, [`of ${tag}`]])),
    signature: ['of signature'],
  };
  const layers = Object.fromEntries(
    Object.entries(manifests).map(([name, [layer = '']]) => [name, [layer.replace(' ', '-')]]),
  );
  const site = {
    '1.2': '1.2',
    '1.9': '1.9',
    '1.10': '1.10',
    '1.11': '1.11',
    '2.0': '2.0',
    [`${digest('1.10').replace(':', '-')}.sig`]: 'signature',
  };
  const ask = async (tag?: string) =>
    lineages({ manifests: layers, wanted: tag === undefined ? ['new'] : ['new', tag], site });
  t.deepEqual(await ask('1.10'), { n: 'of-1.10 of-1.9 of-1.11' });
  t.deepEqual(await ask('1.10.1'), { n: 'of-1.10 of-1.11 of-2.0' });
  t.deepEqual(await ask('3.0'), { n: 'of-2.0' });
  t.deepEqual(await ask('sha256'), { n: 'of-2.0' });
  t.deepEqual(await ask(), { n: 'of-2.0' });
  t.deepEqual(
    await lineages({ manifests: layers, wanted: ['new', '1.0'], site: { '1.0': 'new' } }),
    {},
  );
});

test('layers of an index build on those of the same platform, and on those of an image without one', async (t) => {
  const manifests = {
    amd: ['a1'],
    arm: ['r1'],
    new: ['amd linux/amd64', 'arm linux/arm64'],
    'amd-old': ['a'],
    'arm-old': ['r'],
    old: ['amd-old linux/amd64', 'arm-old linux/arm64'],
    single: ['s'],
  };
  const wanted = ['new', 'v1'] as const;
  t.deepEqual(await lineages({ manifests, wanted, site: { v1: 'old' } }), { a1: 'a', r1: 'r' });
  t.deepEqual(await lineages({ manifests, wanted, site: { v1: 'single' } }), { a1: 's', r1: 's' });
  // Nothing is known of an image that is not held here, and nothing of a repository without images.
  t.deepEqual(await lineages({ manifests, wanted, site: { v1: 'gone' } }), {});
  t.deepEqual(await lineages({ manifests, wanted, site: {} }), {});
});

test('an index that lists itself ends', async (t) => {
  const manifests = { new: ['new', 'new linux/amd64', 'a1'], old: ['a'] };
  t.deepEqual(await lineages({ manifests, wanted: ['new', 'v1'], site: { v1: 'old' } }), {});
});
