import type { Pin } from '../src/api/store-api.ts';
import PQueue from 'p-queue';
import type { SyncConfig } from '../src/config/sync-config.ts';
import type { Pace } from '../src/mirror/downloads/demand.ts';
import type { Supply } from '../src/mirror/supply.ts';
import { parseImageName } from '../src/oci/image-name.ts';
import type { Log } from '../src/observe/log.ts';
import type { BlobStore } from '../src/store/files/blob-store.ts';
import type { Pins } from '../src/store/care/pins.ts';
import type { Catalog } from '../src/store/catalog/catalog.ts';
import type { Departure } from './departure.ts';
import type { Gate } from './gate.ts';
import { fingerprint } from './lock.ts';
import type { Meter } from './meter.ts';
import { isToFetch, type Plan, type PlannedItem } from './planner.ts';
import { PASSING_FAULTS, Patience } from './patience.ts';
import { reasonOf, type Problem } from './resolver.ts';
import type { Timer } from './schedule.ts';
import type { KnownImage, State } from './state.ts';
import { Walk } from './walk.ts';
import { digestNameOf, keyOf, nameOf, nodeOf } from './wanted-image.ts';

export interface RunnerParts {
  readonly config: SyncConfig;
  readonly supply: Supply;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly state: State;
  readonly gate: Gate;
  readonly meter: Meter;
  readonly timer: Timer;
  readonly log: Log;
  /** Told of each image that may still go well another time. */
  readonly gaveUp: () => void;
}

export interface Outcome {
  readonly fetched: number;
  readonly kept: number;
  readonly failures: readonly Problem[];
  /** As they were carried out. */
  readonly departures: readonly Departure[];
}

const ORIGIN = 'sync';

/**
 * Carries a plan out: what is wanted is pinned first, then fetched image by image, and a tag moves
 * when all that it will mean is here. An image that fails stops no other one. Interrupted anywhere,
 * the next run goes on with what is missing then.
 */
export class Runner {
  readonly #parts: RunnerParts;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Rejects only when the signal aborts or the store cannot write what sync knows. */
  async carryOut(plan: Plan, signal: AbortSignal): Promise<Outcome> {
    const { config, meter } = this.#parts;
    await this.#settle(plan);
    const failures: Problem[] = [];
    const absent = new Set(plan.failed.map(keyOf));
    const searched = new Map<string, number | undefined>();
    let [fetched, kept] = [0, 0];
    const queue = new PQueue({ concurrency: config.concurrency });
    meter.expect(plan.items);
    await queue.addAll(
      plan.items.map((item) => async () => {
        if (signal.aborted) return;
        const failure = await this.#bring(item, signal);
        if (isAborted(signal)) return;
        if (failure !== undefined) {
          failures.push(failure);
          absent.add(keyOf(item.wanted));
        } else {
          if (isToFetch(item)) fetched += 1;
          else kept += 1;
          if (item.attached.length > 0) searched.set(...searchOf(item));
        }
        meter.ended(failure === undefined);
      }),
    );
    signal.throwIfAborted();
    const departures = plan.departures.map((departure) => postpone(departure, absent));
    await this.#conclude(departures, searched);
    return { fetched, kept, failures, departures };
  }

  /**
   * Pins what is wanted, and writes down what for: a crash from here on loses nothing of it. What is
   * to go is known until it is gone, so that nothing stays pinned that nobody remembers.
   */
  async #settle({ items, failed, departures, problems }: Plan): Promise<void> {
    const { config, pins, state, timer } = this.#parts;
    const wanted = [...items.map(({ wanted }) => wanted), ...failed];
    const searched = new Map([
      ...state.current.images.map((image) => [nodeOf(image), image.searchedAt] as const),
      // Not before its signatures have their tags, by which alone they are known.
      ...items.flatMap((item) => (item.attached.length > 0 ? [] : [searchOf(item)])),
    ]);
    const images: KnownImage[] = [
      ...wanted.map((image) => {
        const searchedAt = searched.get(nodeOf(image));
        return { ...image, ...(searchedAt !== undefined && { searchedAt }) };
      }),
      ...departures.map(({ image, became }) => (became ? { ...image, kept: became } : image)),
    ];
    const pinned = new Set(
      pins.list().flatMap(({ origin, image }) => (origin === ORIGIN ? image : [])),
    );
    for (const image of wanted) {
      const pin: Pin = {
        origin: ORIGIN,
        image: digestNameOf(image),
        reason: image.rule,
        since: timer.now(),
      };
      if (pinned.has(pin.image)) continue;
      pinned.add(pin.image);
      await pins.add(pin);
    }
    const known = new Set(images.map(nameOf));
    const resolved = new Set(images.map(({ rule }) => rule));
    // A list that cannot be had now changes nothing of what it selected before.
    const unresolved = problems.filter(
      ({ image, rule }) => !known.has(image) && (isOneImage(image) || !resolved.has(rule)),
    );
    await state.update({ images, unresolved, rules: fingerprint(config) });
  }

  /** Why it is not ready; `undefined` when it is, or when the signal aborted. */
  async #bring(item: PlannedItem, signal: AbortSignal): Promise<Problem | undefined> {
    const { timer, log, gaveUp } = this.#parts;
    const { rule } = item.wanted;
    const image = nameOf(item.wanted);
    try {
      const patience = new Patience({ timer, signal, faults: PASSING_FAULTS, gaveUp });
      await patience.try(async () => this.#fetch(item, signal));
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      const reason = reasonOf(error);
      log.warn({ image, rule, reason }, 'not synced');
      return { rule, image, reason };
    }
  }

  async #fetch({ wanted, attached }: PlannedItem, signal: AbortSignal): Promise<void> {
    const { supply, gate, meter } = this.#parts;
    const { target, tag, digest, checkedAt } = wanted;
    const parts = { ...this.#parts, attached: attached.map((each) => each.digest) };
    // Looked at anew: another image may have brought some of it meanwhile.
    const { missing } = await Walk.over(parts, { target, digest }, wanted);
    for (const blob of missing) {
      await gate.passed(signal);
      const pace: Pace = async (bytes, haste) => meter.pass(bytes, haste);
      if (!(await supply.holdBlob(target, blob.digest, { pace }))) {
        throw new Error(`the upstream has no ${blob.digest}`);
      }
      signal.throwIfAborted();
    }
    const left = await Walk.over(parts, { target, digest }, wanted);
    const [first] = left.missing;
    if (first) throw new Error(`${first.digest} was fetched and is not there`);
    for (const each of attached) {
      await supply.recordTag(target, each.tag, each.digest, checkedAt);
    }
    if (tag !== undefined) await supply.recordTag(target, tag, digest, checkedAt);
  }

  /** Lets go of what is to go, and remembers it no more. */
  async #conclude(
    departures: readonly Departure[],
    searched: ReadonlyMap<string, number | undefined>,
  ): Promise<void> {
    const { pins, state, log } = this.#parts;
    const going: KnownImage[] = [];
    for (const { image, action, why } of departures) {
      log.info({ image: nameOf(image), rule: image.rule, action, why }, 'left the selection');
      if (action === 'release') going.push(image);
    }
    if (going.length + searched.size === 0) return;
    const gone = new Set(going.map(nodeOf));
    const left = state.current.images
      .filter((image) => !gone.has(nodeOf(image)))
      .map((image) => {
        const searchedAt = searched.get(nodeOf(image));
        return searchedAt === undefined ? image : { ...image, searchedAt };
      });
    // One image may have had several tags, of which not all go.
    const stays = new Set(left.map(digestNameOf));
    for (const image of going) {
      const name = digestNameOf(image);
      if (!stays.has(name)) await pins.remove({ origin: ORIGIN, image: name });
    }
    await state.update({ images: left });
  }
}

function searchOf({ wanted, searchedAt }: PlannedItem): [string, number | undefined] {
  return [nodeOf(wanted), searchedAt];
}

/** What a tag meant before stays until what it means now is here. */
function postpone(departure: Departure, absent: ReadonlySet<string>): Departure {
  const isNeeded = departure.action === 'release' && absent.has(keyOf(departure.image));
  if (!isNeeded) return departure;
  return { ...departure, action: 'guarded', why: `${departure.why}, which is not here yet` };
}

/** Asked anew: it may have come to that meanwhile. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** As opposed to a repository, or a pattern of such. */
export function isOneImage(name: string): boolean {
  const { tag, digest } = parseImageName(name);
  return tag !== undefined || digest !== undefined;
}
