import PQueue from 'p-queue';
import type { SyncProblem } from '../src/api/sync-api.ts';
import { cosignTags } from '../src/oci/cosign.ts';
import type { Digest } from '../src/oci/digest.ts';
import { splitTarget, type Tag, type Target } from '../src/oci/reference.ts';
import { ageOf } from '../src/time/clock.ts';
import { findDeselected, type DeselectedImage } from './deselected-image.ts';
import { readLock } from './lock.ts';
import type { Retries } from './retries.ts';
import type { KnownImage } from './state.ts';
import { joinResolutions, errorMessage, Resolver, type Resolution } from './resolver.ts';
import {
  describeWithheld,
  findImageFiles,
  type ManifestSource,
  type ImageFiles,
} from './image-files.ts';
import { imageKey, imageName, imageVersionKey, type WantedImage } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

/** An image with the files that it lacks. */
export interface PlannedItem {
  readonly wanted: WantedImage;
  readonly files: ImageFiles;
  /** The digest that its tag has in the catalog. */
  readonly before?: Digest;
  /** When its referrers were last looked for. */
  readonly searchedAt?: number;
  /**
   * Signatures and the like under cosign's tags, which are recorded once all of the image is held.
   */
  readonly attached: readonly Attached[];
}

export interface Attached {
  readonly tag: Tag;
  readonly digest: Digest;
}

/** What is wanted of one upstream. */
export interface UpstreamPlan {
  readonly upstream: string;
  /** The higher priority first. */
  readonly items: readonly PlannedItem[];
  readonly problems: readonly SyncProblem[];
  /** The images among them whose digest is known: they stay wanted. */
  readonly failed: readonly WantedImage[];
}

export interface Plan extends Omit<UpstreamPlan, 'upstream'> {
  readonly createdAt: number;
  readonly deselected: readonly DeselectedImage[];
  /** What is known of upstreams that are still under way. */
  readonly others: readonly KnownImage[];
}

/** The plan of one upstream, with what it was made from. */
export interface ResolvedPlan extends UpstreamPlan {
  readonly resolution: Resolution;
}

/** What a search for the referrers of one manifest finds. */
interface Found {
  readonly listed: readonly Digest[];
  readonly attached: readonly Attached[];
}

/** Searches for referrers, so that each is made once in a plan. */
interface Searches {
  /** When earlier runs looked for the referrers of an image, by `imageVersionKey`. */
  readonly earlier: ReadonlyMap<string, number | undefined>;
  readonly begun: Map<string, Promise<Found>>;
}

/** Images of one upstream that are examined at a time. */
const AT_A_TIME = 4;
/** Referrers of a complete image are searched for again after this time. */
const SEARCH_AGAIN_MS = 24 * 3_600_000;

/**
 * Turns rules into a plan: resolves tags by HEAD, fetches manifests that are not held, and checks
 * every file. It fetches no layer. An image that is held, complete and unchanged costs one HEAD.
 * The upstreams are planned beside each other, so that a slow one keeps no other waiting. Throws
 * `RegistryError` for a lock that does not match the rules.
 */
export async function makePlan(parts: SyncParts, lock: unknown): Promise<Plan> {
  const ends = await Promise.allSettled(
    [...upstreamPlans(parts, lock).values()].map(async (make) => make()),
  );
  return joinPlans(parts, ends, { isLocked: lock !== undefined });
}

/** How the plan of each upstream is made. */
export function upstreamPlans(
  parts: SyncParts,
  lock: unknown,
): ReadonlyMap<string, (retries?: Retries) => Promise<ResolvedPlan>> {
  const known = parts.state.current.images;
  const earlier = new Map(known.map((image) => [imageVersionKey(image), image.searchedAt]));
  return new Map(
    resolutionsOf(parts, lock).map(([upstream, resolving]) => [
      upstream,
      async (retries) => {
        const searches: Searches = { earlier, begun: new Map() };
        const resolution = await resolving(retries);
        const plan = await examineAll(parts, resolution, { searches, retries });
        return { upstream, resolution, ...plan };
      },
    ]),
  );
}

/** The plans of all upstreams but those that are still under way, whose images stay as they are. */
export async function joinPlans(
  parts: SyncParts,
  ends: readonly PromiseSettledResult<ResolvedPlan>[],
  { isLocked, open = new Set() }: { isLocked: boolean; open?: ReadonlySet<string> },
): Promise<Plan> {
  const { config, state, timer, signal } = parts;
  signal.throwIfAborted();
  const plans = ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
  const isOpen = ({ target }: KnownImage): boolean => open.has(target.upstream);
  const known = state.current.images.filter((image) => !isOpen(image));
  const resolution = joinResolutions(plans.map((plan) => plan.resolution));
  const unfinished = await findUnfinished(parts, known, resolution.images);
  const deselected = findDeselected(known, { ...resolution, isLocked, unfinished }, config);
  const settled = new Set(
    deselected.flatMap(({ action, became, image }) =>
      action === 'keep' && became === 'deleted' ? [imageName(image)] : [],
    ),
  );
  return {
    createdAt: timer.wall(),
    items: plans.flatMap(({ items }) => items).toSorted(byPriority),
    deselected,
    // An image that is kept after the upstream deleted it is among `deselected` and is no failure.
    problems: plans.flatMap(({ problems }) => problems).filter(({ image }) => !settled.has(image)),
    failed: plans.flatMap(({ failed }) => failed),
    others: state.current.images.filter(isOpen),
  };
}

/** Images whose tag moved before all of their files were fetched, by `imageVersionKey`. */
async function findUnfinished(
  parts: SyncParts,
  known: readonly KnownImage[],
  wanted: readonly WantedImage[],
): Promise<ReadonlySet<string>> {
  const digests = new Map(wanted.map((image) => [imageKey(image), image.digest]));
  const unfinished = new Set<string>();
  for (const image of known) {
    const now = digests.get(imageKey(image));
    if (image.kept !== undefined || now === undefined || now === image.digest) continue;
    const { missing } = await findImageFiles(parts, image, image);
    // A manifest of a platform may be one that the upstream never had.
    if (missing.some(({ platform }) => platform === undefined))
      unfinished.add(imageVersionKey(image));
  }
  return unfinished;
}

/** How the images of each upstream are found: by the rules, or in the lock. */
function resolutionsOf(
  parts: SyncParts,
  lock: unknown,
): (readonly [upstream: string, resolve: (retries?: Retries) => Promise<Resolution>])[] {
  const { config, timer } = parts;
  if (lock !== undefined) {
    const images = readLock(config, lock, timer.wall());
    const byUpstream = Map.groupBy(images, ({ target }) => target.upstream);
    return [...byUpstream].map(([upstream, own]) => [
      upstream,
      async () => ({ ...joinResolutions([]), images: own }),
    ]);
  }
  const byUpstream = Map.groupBy(config.rules, ({ image }) => splitTarget(image).upstream);
  return [...byUpstream].map(([upstream, rules]) => [
    upstream,
    async (retries) => Resolver.resolve({ ...parts, retries }, rules),
  ]);
}

async function examineAll(
  parts: SyncParts,
  { images, problems: unresolved }: Resolution,
  { searches, retries }: { searches: Searches; retries: Retries | undefined },
): Promise<Omit<UpstreamPlan, 'upstream'>> {
  const { signal } = parts;
  const items: PlannedItem[] = [];
  const problems = [...unresolved];
  const failed: WantedImage[] = [];
  const queue = new PQueue({ concurrency: AT_A_TIME });
  await queue.addAll(
    images.map((wanted) => async () => {
      if (signal.aborted) return;
      try {
        const work = async () => examine(parts, wanted, searches);
        const item = await (retries ? retries.run(work) : work());
        items.push(item);
        const { withheld } = item.files;
        if (withheld.length > 0) {
          problems.push({
            rule: wanted.rule,
            image: imageName(wanted),
            reason: describeWithheld(withheld),
          });
        }
      } catch (error) {
        failed.push(wanted);
        problems.push({ rule: wanted.rule, image: imageName(wanted), reason: errorMessage(error) });
      }
    }),
  );
  signal.throwIfAborted();
  return { items: items.toSorted(byPriority), problems, failed };
}

async function examine(
  parts: SyncParts,
  wanted: WantedImage,
  searches: Searches,
): Promise<PlannedItem> {
  const { catalog, timer } = parts;
  const { target, tag, digest, referrers } = wanted;
  const before = tag && (await catalog.findTag(target, tag))?.digest;
  const earlier = searches.earlier.get(imageVersionKey(wanted));
  const searchAge = earlier === undefined ? undefined : ageOf(earlier, timer);
  const isSearched = !referrers || (searchAge !== undefined && searchAge < SEARCH_AGAIN_MS);
  const attached: Attached[] = [];
  let files = await findImageFiles(parts, { target, digest }, wanted);
  const isDone = files.missing.length === 0 && isSearched;
  if (!isDone) {
    const source = sourceOf(parts, { target, attached, searches });
    files = await findImageFiles({ ...parts, source }, { target, digest }, wanted);
    if (files.bytes === 0) throw new Error(TEXTS.noManifest);
  }
  if (files.isForOthers) {
    throw new Error(TEXTS.otherPlatforms({ platforms: [wanted.platforms].flat().join(', ') }));
  }
  const searchedAt = isDone ? earlier : timer.wall();
  return {
    wanted,
    ...(before && { before }),
    files,
    ...(referrers && searchedAt !== undefined && { searchedAt }),
    attached,
  };
}

/** What is found under cosign's tags is added to `attached`. */
function sourceOf(
  parts: SyncParts,
  { target, attached, searches }: { target: Target; attached: Attached[]; searches: Searches },
): ManifestSource {
  return {
    manifest: async (digest) => holdManifest(parts, target, digest),
    referrers: async (digest) => {
      const key = imageKey({ target, digest });
      // Several tags often mean one image, which is searched once.
      const search = searches.begun.get(key) ?? searchReferrers(parts, target, digest);
      searches.begun.set(key, search);
      // A failed search is not remembered, so that another attempt searches again.
      search.catch(() => searches.begun.delete(key));
      const found = await search;
      for (const each of found.attached) attached.push(each);
      return [...found.listed, ...found.attached.map((each) => each.digest)];
    },
  };
}

async function searchReferrers(parts: SyncParts, target: Target, digest: Digest): Promise<Found> {
  const { prefetcher } = parts;
  const found = { listed: [] as Digest[], attached: [] as Attached[] };
  // A referrer that is listed and answers 404 is no part of the image.
  for (const referrer of await prefetcher.referrers(target, digest)) {
    if (await holdManifest(parts, target, referrer.digest)) found.listed.push(referrer.digest);
  }
  for (const tag of cosignTags(digest)) {
    const meant = await prefetcher.resolve(target, tag);
    if (meant && (await holdManifest(parts, target, meant))) {
      found.attached.push({ tag, digest: meant });
    }
  }
  return found;
}

/** False when the upstream has no such manifest. */
async function holdManifest(parts: SyncParts, target: Target, digest: Digest): Promise<boolean> {
  const { catalog, blobs, prefetcher, signal } = parts;
  signal.throwIfAborted();
  const record = await catalog.findBlob(digest);
  const file = record && (await blobs.statBlob(digest));
  // The manifest would count as held by its record, although its file is gone.
  if (record && file?.size !== record.size) await catalog.forgetBlob(digest);
  return prefetcher.holdManifest(target, digest);
}

/** Whether files are missing or its tag has another digest in the catalog. */
export function isToFetch({ wanted, files, before }: PlannedItem): boolean {
  const isToMove = wanted.tag !== undefined && before !== wanted.digest;
  return files.missing.length > 0 || isToMove;
}

/** What the images lack together: a file that several of them lack is fetched once. */
export function missingOf(items: readonly PlannedItem[]): { files: number; bytes: number } {
  const sizes = new Map(
    items.flatMap(({ files }) => files.missing.map(({ digest, size }) => [digest, size])),
  );
  return { files: sizes.size, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}

function byPriority(a: PlannedItem, b: PlannedItem): number {
  return (
    b.wanted.priority - a.wanted.priority || (imageKey(a.wanted) < imageKey(b.wanted) ? -1 : 1)
  );
}
