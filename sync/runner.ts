import PQueue from 'p-queue';
import type { SyncProblem } from '../src/api/sync-api.ts';
import { splitTarget } from '../src/oci/reference.ts';
import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import type { DeselectedImage } from './deselected-image.ts';
import { fingerprint } from './lock.ts';
import { bringImage, type BringParts } from './image-bringing.ts';
import { judgeWanted } from './image-refusal.ts';
import { PASSING_FAULTS, Retries } from './retries.ts';
import {
  isToFetch,
  type Plan,
  type PlanListener,
  type PlannedItem,
  type UpstreamPlan,
} from './planner.ts';
import { errorMessage, type Resolution } from './resolver.ts';
import type { ImageScope } from './image-scope.ts';
import type { KnownImage } from './state.ts';
import {
  imageDigestName,
  imageKey,
  imageName,
  imageVersionKey,
  isOneImage,
  type WantedImage,
} from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

export interface RunnerParts extends SyncParts, Omit<BringParts, 'retries'> {
  /** All others stay as they are. */
  readonly only?: ImageScope | undefined;
  /** Called for each image whose failure a later run may not meet. */
  readonly gaveUp: () => void;
}

export interface RunOutcome {
  readonly fetched: number;
  readonly kept: number;
  readonly failures: readonly SyncProblem[];
  /** With what was done to each. */
  readonly deselected: readonly DeselectedImage[];
}

const ORIGIN = 'sync';

/**
 * Carries the plan of one upstream out while it is made: pins the wanted images, fetches what each
 * lacks, and moves its tag once all of it is held. Each upstream has places of its own, `concurrency`
 * of them, so that a slow one takes none of another; all together are as many as the rules have
 * upstreams. An image that fails stops no other one. After an interruption the next run fetches what
 * is missing then. Rejects only when the signal aborts or the store cannot write what sync knows.
 */
export class Runner implements PlanListener {
  readonly #upstream: string;
  readonly #parts: RunnerParts;
  readonly #queue: PQueue;
  readonly #fetched: Fetched = nothingFetched();

  constructor(upstream: string, parts: RunnerParts) {
    this.#upstream = upstream;
    this.#parts = parts;
    this.#queue = new PQueue({ concurrency: parts.config.concurrency });
  }

  /** Pins what is wanted, and records it. */
  async resolved({ images: wanted, problems }: Resolution): Promise<void> {
    const { config, state, only } = this.#parts;
    await pinImages(this.#parts, [...wanted, ...state.current.images]);
    const renewed = new Set(wanted.map(imageVersionKey));
    const isOwn = ({ image }: SyncRule): boolean => splitTarget(image).upstream === this.#upstream;
    const rules = new Set(config.rules.filter(isOwn).map(({ path }) => path));
    await record(
      this.#parts,
      { items: [], failed: wanted, problems },
      {
        others: state.current.images.filter((image) => !renewed.has(imageVersionKey(image))),
        open: only
          ? openBeside(this.#parts, only)
          : state.unresolved(config).filter(({ rule }) => !rules.has(rule)),
        only,
      },
    );
  }

  /** Fetches what it lacks, in its turn. */
  examined(item: PlannedItem): void {
    const { priority } = item.wanted;
    void this.#queue.add(async () => this.#bring(item, this.#fetched), { priority });
  }

  /** What the plan came to, once all of it is fetched. */
  async fetched({ items, failed }: UpstreamPlan): Promise<Fetched> {
    const { progress, signal } = this.#parts;
    for (const image of failed) this.#fetched.absent.add(imageKey(image));
    progress.expect(items);
    await this.idle();
    signal.throwIfAborted();
    return this.#fetched;
  }

  /** Resolves when nothing is fetched. */
  async idle(): Promise<void> {
    await this.#queue.onIdle();
  }

  async #bring(item: PlannedItem, fetched: Fetched): Promise<void> {
    const { progress, timer, signal, gaveUp } = this.#parts;
    if (signal.aborted) return;
    const retries = new Retries({ timer, signal, faults: PASSING_FAULTS, gaveUp });
    const failure = await bringImage({ ...this.#parts, retries }, item);
    const isWhole = item.files.withheld.length === 0;
    if (isAborted(signal)) return;
    // Whoever can say whether it may be pulled is asked while the link is there.
    const refused = failure ?? (await this.#refused(item.wanted));
    if (isAborted(signal)) return;
    if (failure !== undefined) fetched.absent.add(imageKey(item.wanted));
    else if (item.attached.length > 0) fetched.searched.set(...searchOf(item));
    if (refused !== undefined) fetched.failures.push(refused);
    // Of what is not whole its plan told that it failed.
    else if (isWhole) fetched[isToFetch(item) ? 'fetched' : 'kept'] += 1;
    progress.ended(refused === undefined && isWhole);
  }

  /** What is here and may not be pulled, or of which nobody can say so, is of no use to the site. */
  async #refused(wanted: WantedImage): Promise<SyncProblem | undefined> {
    const { rule } = wanted;
    const image = imageName(wanted);
    const reason = await judgeWanted(this.#parts, wanted).catch(errorMessage);
    if (reason === undefined) return undefined;
    this.#parts.log.warn({ image, rule, reason }, 'not synced');
    return { rule, image, reason };
  }
}

/** Pins the digests of images, with the tags that mean them. */
async function pinImages(
  { pins, timer }: SyncParts,
  images: readonly WantedImage[],
): Promise<void> {
  const own = pins.list().filter(({ origin }) => origin === ORIGIN);
  const pinned = new Map(own.map((pin) => [pin.image, pin]));
  for (const [image, same] of Map.groupBy(images, imageDigestName)) {
    const before = pinned.get(image);
    const tags = [...new Set(same.flatMap(({ tag = [] }) => tag))].toSorted();
    if (before?.tags?.join(' ') === tags.join(' ')) continue;
    const { reason = same[0]?.rule ?? '', since = timer.wall() } = before ?? {};
    await pins.add({ origin: ORIGIN, image, tags, reason, since });
  }
}

/** Records what all plans say together, and releases what is not wanted any more. */
export async function concludeRun(
  parts: SyncParts,
  plan: Plan,
  fetched: readonly Fetched[],
): Promise<RunOutcome> {
  const { config, pins, state, log } = parts;
  const { absent, searched, ...done } = joinFetched(fetched);
  const deselected = plan.deselected.map((image) => postpone(image, absent));
  // What is to be released stays recorded until its pin is gone, so that no pin is left over.
  const others = deselected.map(({ image, became }) =>
    became ? { ...image, kept: became } : image,
  );
  const underWay = new Set(plan.others.map(({ target }) => target.upstream));
  const rules = new Set(
    config.rules
      .filter(({ image }) => underWay.has(splitTarget(image).upstream))
      .map(({ path }) => path),
  );
  const { only } = plan;
  const open = only
    ? openBeside(parts, only)
    : state.unresolved(config).filter(({ rule }) => rules.has(rule));
  const going = deselected.filter(({ action }) => action === 'release').map(({ image }) => image);
  const gone = new Set(going.map(imageVersionKey));
  await record(parts, plan, {
    others: [...others, ...plan.others],
    open,
    only,
    searched,
    going: gone,
  });
  for (const { image, action, why, isUnasked } of deselected) {
    const message = isUnasked ? 'could not be asked for' : 'left the selection';
    log.info({ image: imageName(image), rule: image.rule, action, why }, message);
  }
  const left = state.current.images.filter((image) => !gone.has(imageVersionKey(image)));
  // The pin is by digest, which another tag that stays may share.
  const stays = new Set([...left.map(imageDigestName), ...parts.brought().map(imageDigestName)]);
  for (const name of going.map(imageDigestName)) {
    if (!stays.has(name)) await pins.remove({ origin: ORIGIN, image: name });
  }
  await pinImages(parts, left);
  if (going.length > 0) await state.update({ images: left });
  return { ...done, deselected };
}

/** The wanted images with their rules, beside others, and the questions that are open. */
async function record(
  parts: SyncParts,
  plan: Pick<Plan, 'items' | 'failed' | 'problems'>,
  beside: {
    others: readonly KnownImage[];
    open: readonly SyncProblem[];
    searched?: SearchTimes;
    /** What is recorded until its pin is gone, by `imageVersionKey`. */
    going?: ReadonlySet<string>;
    /** Then it says nothing of what the rules select besides. */
    only?: ImageScope | undefined;
  },
): Promise<void> {
  const { config, state } = parts;
  const searched: SearchTimes = new Map([
    ...state.current.images.map((image) => [imageVersionKey(image), image.searchedAt] as const),
    ...plan.items.filter(({ attached }) => attached.length === 0).map(searchOf),
    ...(beside.searched ?? []),
  ]);
  const wanted = wantedOf(plan).map((image) => withSearch(image, searched));
  const images: KnownImage[] = [...wanted, ...beside.others];
  const known = new Set(images.map(imageName));
  const staying = images.filter((image) => !beside.going?.has(imageVersionKey(image)));
  const resolved = new Set(staying.map(({ rule }) => rule));
  // When a list failed, the images that it selected before stay selected, and it is no open question.
  const unresolved = plan.problems.filter(
    ({ image, rule }) => !known.has(image) && (isOneImage(image) || !resolved.has(rule)),
  );
  // A few images tell nothing of whether other rules were ever resolved.
  if (beside.only && !state.isOf(config)) return state.update({ images });
  const open = beside.open.filter(({ image }) => !known.has(image));
  await state.update({
    images,
    unresolved: [...new Map([...open, ...unresolved].map((each) => [keyOf(each), each])).values()],
    rules: fingerprint(config),
  });
}

function keyOf({ rule, image }: SyncProblem): string {
  return `${rule} ${image}`;
}

/** What is open of all but a few images. */
function openBeside({ config, state }: SyncParts, only: ImageScope): SyncProblem[] {
  return state.unresolved(config).filter((problem) => !only.isAbout(problem));
}

/** What the fetching of one upstream came to. */
export interface Fetched {
  fetched: number;
  kept: number;
  readonly failures: SyncProblem[];
  readonly absent: Set<string>;
  /** When the tags of cosign were last looked for, by image. */
  readonly searched: SearchTimes;
}

function nothingFetched(): Fetched {
  return { fetched: 0, kept: 0, failures: [], absent: new Set(), searched: new Map() };
}

function joinFetched(each: readonly Fetched[]): Fetched {
  return {
    fetched: each.reduce((sum, { fetched }) => sum + fetched, 0),
    kept: each.reduce((sum, { kept }) => sum + kept, 0),
    failures: each.flatMap(({ failures }) => failures),
    absent: new Set(each.flatMap(({ absent }) => [...absent])),
    searched: new Map(each.flatMap(({ searched }) => [...searched])),
  };
}

/** The previous image of a tag stays until the new one is held. */
function postpone(deselected: DeselectedImage, absent: ReadonlySet<string>): DeselectedImage {
  const { image, action, why } = deselected;
  if (action !== 'release' || !absent.has(imageKey(image))) return deselected;
  return { ...deselected, action: 'guarded', why: TEXTS.postponed({ why }) };
}

function wantedOf({ items, failed }: Pick<Plan, 'items' | 'failed'>): WantedImage[] {
  return [...items.map(({ wanted }) => wanted), ...failed];
}

/** When referrers were last looked for, by `imageVersionKey`. */
type SearchTimes = Map<string, number | undefined>;

function withSearch(image: KnownImage, searched: SearchTimes): KnownImage {
  const searchedAt = searched.get(imageVersionKey(image));
  return searchedAt === undefined ? image : { ...image, searchedAt };
}

function searchOf({ wanted, searchedAt }: PlannedItem): [string, number | undefined] {
  return [imageVersionKey(wanted), searchedAt];
}

/** A function, so that the compiler does not take an earlier answer for this one. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
