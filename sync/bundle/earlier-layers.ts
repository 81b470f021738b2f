import type { BundledImage } from '../../src/api/bundle-api.ts';
import { isAttachedTag } from '../../src/oci/cosign.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { DraftContent } from './draft-content.ts';
import type { SiteImage } from './inventory.ts';
import { MAX_SOURCES } from './recipe-finder.ts';
import type { SiteHoldings } from './site-holdings.ts';

/** A layer, and those of earlier versions of its image that the site has; the likeliest comes first. */
export interface LayerLineage {
  readonly digest: Digest;
  readonly earlier: readonly Digest[];
}

export interface LineageParts {
  readonly catalog: Pick<Catalog, 'members'>;
  readonly holdings: Pick<SiteHoldings, 'has'>;
  /** Of the site. */
  readonly siteImages: readonly SiteImage[];
}

interface PlatformLayers {
  /** Absent where no index tells it. */
  readonly platform?: string | undefined;
  readonly layers: readonly Digest[];
}

type TaggedImage = Required<Pick<SiteImage, 'tag' | 'digest'>>;

/**
 * Layers that are carried, each once, with at most `MAX_SOURCES` earlier ones. Those are of three images of the
 * same repository at the site: the one that has the same tag there, and those with the tags next to it,
 * `1.9` before `1.10`; of the same platform; and those at the same place in the list of layers
 * come first. Of an image that is not held here nothing is known.
 */
export async function* findLineages(
  parts: LineageParts,
  { images, blobs }: Pick<DraftContent, 'images' | 'blobs'>,
): AsyncGenerator<LayerLineage, void> {
  const carried = new Set<string>(blobs.map(({ digest }) => digest));
  const repositories = Map.groupBy(parts.siteImages, ({ name }) => name);
  const tags = new Map<string, TaggedImage[]>();
  for (const image of images) {
    const tagged = tags.get(image.name) ?? tagsOf(repositories.get(image.name));
    tags.set(image.name, tagged);
    const roots = earlierVersions(image, tagged);
    if (roots.length === 0) continue;
    const versions = await Promise.all(roots.map(async (root) => layersOf(parts.catalog, root)));
    for (const own of await layersOf(parts.catalog, image.digest as Digest)) {
      const others = versions.flat().filter((each) => isSamePlatform(own, each));
      for (const [place, digest] of own.layers.entries()) {
        if (!carried.delete(digest)) continue;
        const earlier = await likeliest(parts.holdings, { own, place, others });
        if (earlier.length > 0) yield { digest, earlier };
      }
    }
  }
}

/** Of a repository, in their order; tags of signatures are none. */
function tagsOf(there: readonly SiteImage[] = []): TaggedImage[] {
  return there
    .flatMap(({ tag, digest }) => (tag === undefined || isAttachedTag(tag) ? [] : { tag, digest }))
    .toSorted((a, b) => compareNaturally(a.tag, b.tag));
}

/** `1.9` before `1.10`. */
function compareNaturally(one: string, other: string): number {
  collator ??= new Intl.Collator('en', { numeric: true });
  return collator.compare(one, other);
}

/** Made when tags are compared: its tables take megabytes. */
let collator: Intl.Collator | undefined;

/** Of those at the tag, before it and behind it; of an image without a tag the last one. */
function earlierVersions({ tag }: BundledImage, tagged: readonly TaggedImage[]): Digest[] {
  let [from, to] = [0, tagged.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const isBefore = tag === undefined || compareNaturally(tagged[middle]?.tag ?? '', tag) < 0;
    [from, to] = isBefore ? [middle + 1, to] : [from, middle];
  }
  const around = tagged.slice(Math.max(0, from - 1), from + 2);
  const byTag = around.toSorted((a, b) => Number(b.tag === tag) - Number(a.tag === tag));
  return [...new Set(byTag.map(({ digest }) => digest))];
}

async function likeliest(
  holdings: LineageParts['holdings'],
  { own, place, others }: { own: PlatformLayers; place: number; others: PlatformLayers[] },
): Promise<Digest[]> {
  const byDistance = others
    .flatMap(({ layers }) =>
      layers.map((digest, at) => ({ digest, distance: Math.abs(at - place) })),
    )
    .filter(({ digest }) => !own.layers.includes(digest))
    .toSorted((a, b) => a.distance - b.distance);
  const found = new Set<Digest>();
  for (const { digest } of byDistance) {
    if (found.size === MAX_SOURCES) break;
    if (await holdings.has(digest)) found.add(digest);
  }
  return [...found];
}

/** Of a manifest, or of each that an index lists. */
async function layersOf(
  catalog: LineageParts['catalog'],
  digest: Digest,
  platform?: string,
): Promise<PlatformLayers[]> {
  const { successors = [] } = (await catalog.members(digest)) ?? {};
  const children = successors.filter(
    ({ mediaType, attests }) => isManifestType(mediaType) && attests === undefined,
  );
  const layers = successors.filter(
    ({ mediaType }) => !isManifestType(mediaType) && !isForeignType(mediaType),
  );
  if (children.length === 0) return [{ platform, layers: layers.map((layer) => layer.digest) }];
  const all: PlatformLayers[] = [];
  // An index in an index has no layers that count.
  for (const child of platform === undefined ? children : []) {
    all.push(...(await layersOf(catalog, child.digest, child.platform ?? 'unknown')));
  }
  return all;
}

function isSamePlatform(a: PlatformLayers, b: PlatformLayers): boolean {
  return a.platform === b.platform || a.platform === undefined || b.platform === undefined;
}
