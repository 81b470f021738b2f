import PQueue from 'p-queue';
import type { SyncProblem } from '../src/api/sync-api.ts';
import { splitTarget } from '../src/oci/reference.ts';
import { findDeselected, type DeselectedImage } from './deselected-image.ts';
import { readLock } from './lock.ts';
import type { Retries } from './retries.ts';
import type { KnownImage } from './state.ts';
import { joinResolutions, errorMessage, Resolver, type Resolution } from './resolver.ts';
import { examine, type Examined, Searches } from './examination.ts';
import { describeWithheld, findImageFiles } from './image-files.ts';
import type { ImageScope } from './image-scope.ts';
import {
  imageKey,
  imageName,
  imageVersionKey,
  isOneImage,
  type WantedImage,
} from './wanted-image.ts';
import type { SyncParts } from './parts.ts';

/** An image that is wanted, with the files that it lacks. */
export interface PlannedItem extends Examined {
  readonly wanted: WantedImage;
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
  /** What is known of upstreams that are still under way, and of images that it is not about. */
  readonly others: readonly KnownImage[];
  readonly only?: ImageScope | undefined;
}

/** The plan of one upstream, with what it was made from. */
export interface ResolvedPlan extends UpstreamPlan {
  readonly resolution: Resolution;
}

/** Told of a plan while it is made, so that what it finds first need not wait for its end. */
export interface PlanListener {
  /** What is wanted, before the first image is examined, which waits for this. */
  readonly resolved: (resolution: Resolution) => Promise<void>;
  readonly examined: (item: PlannedItem) => void;
}

/** How one upstream is planned. */
interface PlanOptions {
  /** Left out: an upstream that fails is not asked again. */
  readonly retries?: Retries;
  readonly listener?: PlanListener;
}

export type MakePlan = (options?: PlanOptions) => Promise<ResolvedPlan>;

/** Images of one upstream that are examined at a time: of each a few small answers are waited for. */
const AT_A_TIME = 8;

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
  only?: ImageScope,
): ReadonlyMap<string, MakePlan> {
  const known = parts.state.current.images;
  const earlier = new Map(known.map((image) => [imageVersionKey(image), image.searchedAt]));
  return new Map(
    resolutionsOf(parts, lock, only).map(([upstream, resolving]) => [
      upstream,
      async (options = {}) => {
        const searches = new Searches(parts, earlier);
        const resolution = withEvidence(parts, await resolving(options.retries));
        await options.listener?.resolved(resolution);
        const plan = await examineAll(parts, resolution, { searches, ...options });
        return { upstream, resolution, ...plan };
      },
    ]),
  );
}

/** The plans of all upstreams but those that are still under way, whose images stay as they are. */
export async function joinPlans(
  parts: SyncParts,
  ends: readonly PromiseSettledResult<ResolvedPlan>[],
  {
    isLocked,
    open = new Set(),
    only,
  }: {
    readonly isLocked: boolean;
    readonly open?: ReadonlySet<string>;
    /** All others stay as they are. */
    readonly only?: ImageScope;
  },
): Promise<Plan> {
  const { config, state, timer, signal } = parts;
  signal.throwIfAborted();
  const plans = ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
  const isOpen = (image: KnownImage): boolean =>
    open.has(image.target.upstream) || (only !== undefined && !only.has(image));
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
    only,
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
  only: ImageScope | undefined,
): (readonly [upstream: string, resolve: (retries?: Retries) => Promise<Resolution>])[] {
  const { config, timer } = parts;
  if (lock !== undefined) {
    const locked = readLock(config, lock, timer.wall());
    const images = only ? locked.filter((image) => only.has(image)) : locked;
    const byUpstream = Map.groupBy(images, ({ target }) => target.upstream);
    return [...byUpstream].map(([upstream, own]) => [
      upstream,
      async () => ({ ...joinResolutions([]), images: own }),
    ]);
  }
  const rules = only?.narrow(config.rules) ?? config.rules;
  const byUpstream = Map.groupBy(rules, ({ image }) => splitTarget(image).upstream);
  return [...byUpstream].map(([upstream, own]) => [
    upstream,
    async (retries) => {
      const resolution = await Resolver.resolve({ ...parts, retries }, own);
      return only ? withinScope(resolution, only) : resolution;
    },
  ]);
}

/** Signatures are what rules of admission judge by: they come also where a rule of sync wants none. */
function withEvidence({ isJudged }: SyncParts, resolution: Resolution): Resolution {
  const images = resolution.images.map((image) =>
    isJudged(image.target) ? { ...image, referrers: true } : image,
  );
  return { ...resolution, images };
}

/** Of an image that its rule took no longer it is said. */
function withinScope(resolution: Resolution, only: ImageScope): Resolution {
  const images = resolution.images.filter((image) => only.has(image));
  const problems = resolution.problems.filter(
    (problem) => only.isAbout(problem) || !isOneImage(problem.image),
  );
  return { ...resolution, images, problems };
}

async function examineAll(
  parts: SyncParts,
  { images, problems: unresolved }: Resolution,
  { searches, retries, listener }: PlanOptions & { searches: Searches },
): Promise<Omit<UpstreamPlan, 'upstream'>> {
  const { signal } = parts;
  const items: PlannedItem[] = [];
  const problems = [...unresolved];
  const failed: WantedImage[] = [];
  const examineOne = async (wanted: WantedImage): Promise<void> => {
    if (signal.aborted) return;
    try {
      const work = async () => ({ wanted, ...(await examine(parts, wanted, searches)) });
      const item = await (retries ? retries.run(work) : work());
      items.push(item);
      listener?.examined(item);
      const { withheld } = item.files;
      if (withheld.length > 0) {
        const reason = describeWithheld(withheld);
        problems.push({ rule: wanted.rule, image: imageName(wanted), reason });
      }
    } catch (error) {
      failed.push(wanted);
      problems.push({ rule: wanted.rule, image: imageName(wanted), reason: errorMessage(error) });
    }
  };
  const queue = new PQueue({ concurrency: AT_A_TIME });
  const byRank = Map.groupBy(images, ({ priority }) => priority);
  // One after the other, so that nothing takes the place of what goes first.
  for (const [, alike] of [...byRank].toSorted(([a], [b]) => b - a)) {
    await queue.addAll(alike.map((wanted) => async () => examineOne(wanted)));
  }
  signal.throwIfAborted();
  return { items: items.toSorted(byPriority), problems, failed };
}

/** Whether files are missing or its tag has another digest in the catalog. */
export function isToFetch({ wanted, files, before }: PlannedItem): boolean {
  const isToMove = wanted.tag !== undefined && before !== wanted.digest;
  return files.missing.length > 0 || isToMove;
}

/** What the images lack together: a file that several of them lack is fetched once. */
export function missingOf(items: readonly Pick<PlannedItem, 'files'>[]): {
  files: number;
  bytes: number;
} {
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
