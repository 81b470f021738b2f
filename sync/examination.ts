import { cosignTags, fallbackTag } from '../src/oci/cosign.ts';
import type { Digest } from '../src/oci/digest.ts';
import type { Tag, Target } from '../src/oci/reference.ts';
import { ageOf } from '../src/time/clock.ts';
import { AttachedTags } from './attached-tags.ts';
import { findImageFiles, type ImageFiles, type ManifestSource } from './image-files.ts';
import type { SyncParts } from './parts.ts';
import { TEXTS } from './texts.ts';
import { imageKey, imageVersionKey, type WantedImage } from './wanted-image.ts';

/** What is looked at of an image before its layers are fetched. */
export interface Examined {
  readonly files: ImageFiles;
  /** The digest that its tag has in the catalog. */
  readonly before?: Digest;
  /** When its referrers were last looked for. */
  readonly searchedAt?: number;
  /** Its manifests whose referrers were looked for just now. */
  readonly searched: readonly Digest[];
  /**
   * Signatures and the like under cosign's tags, which are recorded once all of the image is held.
   */
  readonly attached: readonly Attached[];
}

interface Attached {
  readonly tag: Tag;
  readonly digest: Digest;
}

/** What a search for the referrers of one manifest finds. */
interface Found {
  readonly listed: readonly Digest[];
  readonly attached: readonly Attached[];
}

/** Searches for referrers, so that each is made once in a plan. */
export class Searches {
  /** When earlier runs looked for the referrers of an image, by `imageVersionKey`. */
  readonly earlier: ReadonlyMap<string, number | undefined>;
  readonly begun = new Map<string, Promise<Found>>();
  readonly tags: AttachedTags;

  constructor(
    { prefetcher }: Pick<SyncParts, 'prefetcher'>,
    earlier: ReadonlyMap<string, number | undefined> = new Map(),
  ) {
    this.earlier = earlier;
    this.tags = new AttachedTags(prefetcher);
  }
}

/** An image whose tag was resolved. */
export type ResolvedWant = Pick<
  WantedImage,
  'target' | 'tag' | 'digest' | 'platforms' | 'referrers'
>;

type Parts = Pick<SyncParts, 'catalog' | 'blobs' | 'prefetcher' | 'isJudged' | 'timer' | 'signal'>;

/** Referrers of a complete image are searched for again after this time. */
const SEARCH_AGAIN_MS = 24 * 3_600_000;

/** Fetches the manifests of an image that are not held, and checks every file. Fetches no layer. */
export async function examine(
  parts: Parts,
  wanted: ResolvedWant,
  searches: Searches,
): Promise<Examined> {
  const { catalog, timer } = parts;
  const { target, tag, digest, referrers } = wanted;
  const before = tag && (await catalog.findTag(target, tag))?.digest;
  const earlier = searches.earlier.get(imageVersionKey(wanted));
  const searchAge = earlier === undefined ? undefined : ageOf(earlier, timer);
  const isSearched =
    !referrers ||
    (searchAge !== undefined && searchAge < SEARCH_AGAIN_MS && !(await isTagNew(parts, wanted)));
  const [attached, searched]: [Attached[], Digest[]] = [[], []];
  let files = await findImageFiles(parts, { target, digest }, wanted);
  const isDone = files.missing.length === 0 && isSearched;
  if (!isDone) {
    const source = sourceOf(parts, { target, tag, attached, searched, searches });
    files = await findImageFiles({ ...parts, source }, { target, digest }, wanted);
    if (files.bytes === 0) throw new Error(TEXTS.noManifest);
  }
  if (files.isForOthers) {
    throw new Error(TEXTS.otherPlatforms({ platforms: [wanted.platforms].flat().join(', ') }));
  }
  const searchedAt = isDone ? earlier : timer.wall();
  return {
    ...(before && { before }),
    files,
    ...(referrers && searchedAt !== undefined && { searchedAt }),
    searched,
    attached,
  };
}

/** What is found under cosign's tags is added to `attached`, what was looked at to `searched`. */
function sourceOf(
  parts: Parts,
  {
    target,
    tag,
    attached,
    searched,
    searches,
  }: {
    target: Target;
    tag: Tag | undefined;
    attached: Attached[];
    searched: Digest[];
    searches: Searches;
  },
): ManifestSource {
  return {
    manifest: async (digest) => holdManifest(parts, target, digest),
    referrers: async (digest) => {
      const key = imageKey({ target, digest });
      // Several tags often mean one image, which is searched once.
      const search =
        searches.begun.get(key) ?? searchReferrers(parts, { target, tag, digest }, searches.tags);
      searches.begun.set(key, search);
      // A failed search is not remembered, so that another attempt searches again.
      search.catch(() => searches.begun.delete(key));
      const found = await search;
      searched.push(digest);
      for (const each of found.attached) attached.push(each);
      return [...found.listed, ...found.attached.map((each) => each.digest)];
    },
  };
}

/** Whether the upstream just listed a tag of what is attached to the image, and nothing of it is held. */
async function isTagNew(
  { prefetcher, catalog }: Parts,
  { target, digest }: Pick<ResolvedWant, 'target' | 'digest'>,
): Promise<boolean> {
  for (const tag of cosignTags(digest)) {
    if (prefetcher.isListed(target, tag) && !(await catalog.findTag(target, tag))) return true;
  }
  const hasFallback = prefetcher.isListed(target, fallbackTag(digest));
  return hasFallback === true && (await catalog.listReferrers(target, digest)).length === 0;
}

/** Of an image that admission judges a list of tags is not believed that nothing is attached to it. */
async function searchReferrers(
  parts: Parts,
  image: Pick<ResolvedWant, 'target' | 'digest'> & { readonly tag: Tag | undefined },
  tags: AttachedTags,
): Promise<Found> {
  const named = [...cosignTags(image.digest), fallbackTag(image.digest)];
  const possible = await tags.possible(image, named);
  const found = await searchUnder(parts, image, possible);
  const isNothing = found.listed.length === 0 && found.attached.length === 0;
  const isToAsk = isNothing && possible.length < named.length && parts.isJudged(image.target);
  return isToAsk ? searchUnder(parts, image, named) : found;
}

/** Asks for these of the tags that are named after the digest. */
async function searchUnder(
  parts: Parts,
  { target, digest }: Pick<ResolvedWant, 'target' | 'digest'>,
  tags: readonly Tag[],
): Promise<Found> {
  const { prefetcher } = parts;
  const found = { listed: [] as Digest[], attached: [] as Attached[] };
  const isUntagged = !tags.includes(fallbackTag(digest));
  // A referrer that is listed and answers 404 is no part of the image.
  for (const referrer of await prefetcher.referrers(target, digest, { isUntagged })) {
    if (await holdManifest(parts, target, referrer.digest)) found.listed.push(referrer.digest);
  }
  for (const tag of cosignTags(digest)) {
    if (!tags.includes(tag)) continue;
    const meant = await prefetcher.resolve(target, tag);
    if (meant && (await holdManifest(parts, target, meant))) {
      found.attached.push({ tag, digest: meant });
    }
  }
  return found;
}

/** False when the upstream has no such manifest. */
async function holdManifest(parts: Parts, target: Target, digest: Digest): Promise<boolean> {
  const { catalog, blobs, prefetcher, signal } = parts;
  signal.throwIfAborted();
  const record = await catalog.findBlob(digest);
  const file = record && (await blobs.statBlob(digest));
  // The manifest would count as held by its record, although its file is gone.
  if (record && file?.size !== record.size) await catalog.forgetBlob(digest);
  return prefetcher.holdManifest(target, digest);
}
