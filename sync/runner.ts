import PQueue from 'p-queue';
import type { SyncProblem } from '../src/api/sync-api.ts';
import type { Pace } from '../src/mirror/downloads/demand.ts';
import { parseImageName } from '../src/oci/image-name.ts';
import type { Bandwidth } from '../src/upstream/bandwidth.ts';
import { PRIORITY } from '../src/upstream/demand.ts';
import type { DeselectedImage } from './deselected-image.ts';
import { fingerprint } from './lock.ts';
import type { RunProgress } from './run-progress.ts';
import { isToFetch, type Plan, type PlannedItem } from './planner.ts';
import { PASSING_FAULTS, Retries } from './retries.ts';
import { reasonOf } from './resolver.ts';
import type { KnownImage } from './state.ts';
import { measureExtent } from './extent.ts';
import { digestNameOf, keyOf, nameOf, versionKeyOf } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

export interface RunnerParts extends SyncParts {
  readonly progress: RunProgress;
  readonly cap: Bandwidth | undefined;
  /** Called for each image whose failure a later run may not meet. */
  readonly gaveUp: () => void;
}

export interface Outcome {
  readonly fetched: number;
  readonly kept: number;
  readonly failures: readonly SyncProblem[];
  /** With what was done to each. */
  readonly deselected: readonly DeselectedImage[];
}

const ORIGIN = 'sync';

/**
 * Carries a plan out: pins the wanted images, fetches what each lacks, and moves its tag once all
 * of it is held. An image that fails stops no other one. After an interruption the next run fetches
 * what is missing then. Rejects only when the signal aborts or the store cannot write what sync
 * knows.
 */
export async function carryOut(parts: RunnerParts, plan: Plan): Promise<Outcome> {
  const { config, progress, signal } = parts;
  await settle(parts, plan);
  const failures: SyncProblem[] = [];
  const absent = new Set(plan.failed.map(keyOf));
  const searched: SearchTimes = new Map();
  let [fetched, kept] = [0, 0];
  const queue = new PQueue({ concurrency: config.concurrency });
  progress.expect(plan.items);
  await queue.addAll(
    plan.items.map((item) => async () => {
      if (signal.aborted) return;
      const failure = await bring(parts, item);
      if (isAborted(signal)) return;
      if (failure !== undefined) {
        failures.push(failure);
        absent.add(keyOf(item.wanted));
      } else {
        if (isToFetch(item)) fetched += 1;
        else kept += 1;
        if (item.attached.length > 0) searched.set(...searchOf(item));
      }
      progress.ended(failure === undefined);
    }),
  );
  signal.throwIfAborted();
  const deselected = plan.deselected.map((image) => postpone(image, absent));
  await conclude(parts, deselected, searched);
  return { fetched, kept, failures, deselected };
}

/**
 * Pins the wanted images and records them with their rules, before anything is fetched. Images that
 * are to be released stay recorded until their pins are gone, so that no pin is left over.
 */
async function settle(
  { config, pins, state, timer }: RunnerParts,
  { items, failed, deselected, problems }: Plan,
): Promise<void> {
  const wanted = [...items.map((item) => item.wanted), ...failed];
  const searched: SearchTimes = new Map([
    ...state.current.images.map((image) => [versionKeyOf(image), image.searchedAt] as const),
    // Signatures under cosign's tags are found again by these tags, which are recorded at the end.
    ...items.filter(({ attached }) => attached.length === 0).map(searchOf),
  ]);
  const images: KnownImage[] = [
    ...wanted.map((image) => withSearch(image, searched)),
    ...deselected.map(({ image, became }) => (became ? { ...image, kept: became } : image)),
  ];
  const own = pins.list().filter(({ origin }) => origin === ORIGIN);
  const pinned = new Set(own.map(({ image }) => image));
  for (const image of wanted) {
    const name = digestNameOf(image);
    if (pinned.has(name)) continue;
    pinned.add(name);
    await pins.add({ origin: ORIGIN, image: name, reason: image.rule, since: timer.wall() });
  }
  const known = new Set(images.map(nameOf));
  const resolved = new Set(images.map(({ rule }) => rule));
  // When a list failed, the images that it selected before stay selected, and it is no open
  // question.
  const unresolved = problems.filter(
    ({ image, rule }) => !known.has(image) && (isOneImage(image) || !resolved.has(rule)),
  );
  await state.update({ images, unresolved, rules: fingerprint(config) });
}

/** Why it is not ready; `undefined` when it is, or when the signal aborted. */
async function bring(parts: RunnerParts, item: PlannedItem): Promise<SyncProblem | undefined> {
  const { timer, log, signal, gaveUp } = parts;
  const { rule } = item.wanted;
  const image = nameOf(item.wanted);
  try {
    const retries = new Retries({ timer, signal, faults: PASSING_FAULTS, gaveUp });
    await retries.run(async () => fetchImage(parts, item));
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    const reason = reasonOf(error);
    log.warn({ image, rule, reason }, 'not synced');
    return { rule, image, reason };
  }
}

async function fetchImage(parts: RunnerParts, { wanted, attached }: PlannedItem): Promise<void> {
  const { prefetcher, catalog, schedule, progress, cap, signal } = parts;
  const { target, tag, digest, checkedAt } = wanted;
  const extentParts = { ...parts, attached: attached.map((each) => each.digest) };
  const pace: Pace = async (bytes, unpaced) => {
    progress.fetched(bytes);
    await cap?.take(bytes, { priority: PRIORITY.sync, signal: unpaced });
  };
  // Measured again: blobs that it shares with another image may be held by now.
  const { missing } = await measureExtent(extentParts, wanted, wanted);
  for (const blob of missing) {
    await schedule.opened(signal);
    if (!(await prefetcher.holdBlob(target, blob.digest, { pace }))) {
      throw new Error(TEXTS.noBlob(blob));
    }
    signal.throwIfAborted();
  }
  const left = await measureExtent(extentParts, wanted, wanted);
  const [first] = left.missing;
  if (first) throw new Error(TEXTS.lost(first));
  for (const each of attached) {
    await catalog.recordTag(target, each.tag, { digest: each.digest, checkedAt });
  }
  if (tag !== undefined) await catalog.recordTag(target, tag, { digest, checkedAt });
}

/** Removes the pins of released images, then their records. */
async function conclude(
  { pins, state, log }: RunnerParts,
  deselected: readonly DeselectedImage[],
  searched: SearchTimes,
): Promise<void> {
  for (const { image, action, why } of deselected) {
    log.info({ image: nameOf(image), rule: image.rule, action, why }, 'left the selection');
  }
  const going = deselected.filter(({ action }) => action === 'release').map(({ image }) => image);
  if (going.length + searched.size === 0) return;
  const gone = new Set(going.map(versionKeyOf));
  const left = state.current.images
    .filter((image) => !gone.has(versionKeyOf(image)))
    .map((image) => withSearch(image, searched));
  // The pin is by digest, which another tag that stays may share.
  const stays = new Set(left.map(digestNameOf));
  for (const name of going.map(digestNameOf)) {
    if (!stays.has(name)) await pins.remove({ origin: ORIGIN, image: name });
  }
  await state.update({ images: left });
}

/** When referrers were last looked for, by `versionKeyOf`. */
type SearchTimes = Map<string, number | undefined>;

function withSearch(image: KnownImage, searched: SearchTimes): KnownImage {
  const searchedAt = searched.get(versionKeyOf(image));
  return searchedAt === undefined ? image : { ...image, searchedAt };
}

function searchOf({ wanted, searchedAt }: PlannedItem): [string, number | undefined] {
  return [versionKeyOf(wanted), searchedAt];
}

/** The previous image of a tag stays until the new one is held. */
function postpone(deselected: DeselectedImage, absent: ReadonlySet<string>): DeselectedImage {
  const { image, action, why } = deselected;
  if (action !== 'release' || !absent.has(keyOf(image))) return deselected;
  return { ...deselected, action: 'guarded', why: TEXTS.postponed({ why }) };
}

/** A function, so that the compiler does not take an earlier answer for this one. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Whether a name has a tag or a digest; otherwise it is a repository or a pattern. */
export function isOneImage(name: string): boolean {
  const { tag, digest } = parseImageName(name);
  return tag !== undefined || digest !== undefined;
}
