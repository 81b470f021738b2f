import { readFileSync } from 'node:fs';
import test from 'ava';
import type { Tag } from '../../../src/oci/reference.ts';
import type { Inventory, SiteImage } from '../../../sync/bundle/inventory.ts';
import { encodeInventory } from '../../../sync/bundle/inventory-file.ts';
import { MemberMask } from '../../../sync/bundle/member-mask.ts';
import { SigningKey } from '../../../sync/bundle/signing-key.ts';
import { attachedTag, digestOf, NOTHING_HELD } from './made-inventory.ts';

const KEY = SigningKey.generate('ed25519');
const ALL_TAGS = ['alpine', 'app', 'kube-proxy', 'node', 'postgres'].map(
  (name) =>
    JSON.parse(
      readFileSync(new URL(`../../corpus/tags/${name}.json`, import.meta.url), 'utf8'),
    ) as readonly Tag[],
);
const OWNERS = [
  'docker.io/library',
  'ghcr.io/org',
  'quay.io/prometheus',
  'registry.k8s.io',
  'registry.example:5000/team/backend',
];
const WORDS = [
  'api',
  'web',
  'auth',
  'billing',
  'cart',
  'gateway',
  'worker',
  'ledger',
  'metrics',
  'vault',
  'cache',
  'stream',
  'media',
  'token',
  'audit',
];
/** Some platforms of an index, as sites select them. */
const SELECTED = MemberMask.of([true, false, false, true, false, false, false]);

/** So many images, each with a tag and a digest of its own, in so many repositories. */
function makeImages(count: number, repositories: number): SiteImage[] {
  return Array.from({ length: count }, (_, at) => {
    const place = at % repositories;
    const [first, second] = [WORDS[place % WORDS.length], WORDS[(place * 7) % WORDS.length]];
    const name = `${OWNERS[place % OWNERS.length]}/${first}-${second}-${place}`;
    const tags = ALL_TAGS[place % ALL_TAGS.length]!;
    const tag = tags[Math.floor(at / repositories) % tags.length]!;
    return { name, tag, digest: digestOf(`${name}:${tag}`) };
  });
}

function holding(images: readonly SiteImage[]): Inventory {
  const digests = images.map(({ digest }) => digest);
  const isSelected = (at: number): boolean => at % 3 > 0;
  return {
    ...NOTHING_HELD,
    complete: new Set(digests.filter((_, at) => !isSelected(at))),
    partial: new Map(digests.filter((_, at) => isSelected(at)).map((each) => [each, SELECTED])),
    images,
  };
}

test('10,000 images with their tags take at most 40 bytes each', async (t) => {
  const images = makeImages(10_000, 400);
  t.is(new Set(images.map(({ name, tag }) => `${name}:${tag}`)).size, 10_000);
  const { length } = await encodeInventory(holding(images), KEY);
  t.log(`${length} bytes, ${(length / images.length).toFixed(2)} for an image`);
  t.true(length <= 400_000, `${length}`);
});

test('signatures with tags of cosign take no more', async (t) => {
  const images = makeImages(5_000, 400);
  const signatures = images.map(({ name, digest }) => ({
    name,
    tag: attachedTag(digest, '.sig'),
    digest: digestOf(`signature of ${digest}`),
  }));
  const { length } = await encodeInventory(holding([...images, ...signatures]), KEY);
  t.log(`${length} bytes, ${(length / 10_000).toFixed(2)} for an image or a signature`);
  t.true(length <= 400_000, `${length}`);
});
