import PQueue from 'p-queue';
import type { SyncConfig } from '../src/config/sync-config.ts';
import type { Pace } from '../src/mirror/download.ts';
import type { Supply } from '../src/mirror/supply.ts';
import { UpstreamError } from '../src/oci/upstream-error.ts';
import { formatTarget } from '../src/oci/reference.ts';
import type { Log } from '../src/observe/log.ts';
import type { BlobStore } from '../src/store/blob-store.ts';
import type { Catalog } from '../src/store/catalog.ts';
import type { Pins } from '../src/store/pins.ts';
import type { Pin } from '../src/store/tables.ts';
import type { Gate } from './gate.ts';
import type { Meter } from './meter.ts';
import { nameOf, type Plan, type PlannedItem } from './planner.ts';
import { reasonOf, type Problem } from './resolver.ts';
import type { Timer } from './schedule.ts';
import type { KnownImage, State } from './state.ts';
import { Walk } from './walk.ts';
import { keyOf } from './wanted-image.ts';

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
}

export interface Outcome {
  readonly fetched: number;
  readonly kept: number;
  readonly failures: readonly Problem[];
}

const ORIGIN = 'sync';
const MAX_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 10 * 60_000;

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
    let [fetched, kept] = [0, 0];
    const queue = new PQueue({ concurrency: config.concurrency });
    meter.expect(plan.items);
    await queue.addAll(
      plan.items.map((item) => async () => {
        if (signal.aborted) return;
        const failure = await this.#bring(item, signal);
        if (failure !== undefined) failures.push(failure);
        else if (item.extent.missing.length > 0) fetched += 1;
        else kept += 1;
        meter.ended(failure === undefined);
      }),
    );
    signal.throwIfAborted();
    await this.#release(plan);
    return { fetched, kept, failures };
  }

  /** Pins what is wanted, and writes down what for: a crash from here on loses nothing of it. */
  async #settle({ items, failed, departures }: Plan): Promise<void> {
    const { pins, state, timer } = this.#parts;
    const staying = departures.filter(({ action }) => action !== 'release');
    const wanted = [...items.map(({ wanted }) => wanted), ...failed];
    const known = state.current.images;
    const images: KnownImage[] = [
      ...items.map(({ wanted, searchedAt }) => ({
        ...wanted,
        ...(searchedAt !== undefined && { searchedAt }),
      })),
      // Not looked through this time: as they were, where they were known.
      ...failed.map((image) => known.find((each) => keyOf(each) === keyOf(image)) ?? image),
      ...staying.map(({ image, action, why }) => (action === 'keep' ? keep(image, why) : image)),
    ];
    const pinned = new Set(
      pins.list().flatMap(({ origin, image }) => (origin === ORIGIN ? image : [])),
    );
    for (const image of wanted) {
      const pin: Pin = {
        origin: ORIGIN,
        image: `${formatTarget(image.target)}@${image.digest}`,
        reason: image.rule,
        since: timer.now(),
      };
      if (!pinned.has(pin.image)) await pins.add(pin);
    }
    await state.update({ images: unique(images) });
  }

  /** Why it is not ready; `undefined` when it is. */
  async #bring(item: PlannedItem, signal: AbortSignal): Promise<Problem | undefined> {
    const { wanted } = item;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#fetch(item, signal);
        return undefined;
      } catch (error) {
        signal.throwIfAborted();
        const reason = reasonOf(error);
        if (attempt === MAX_ATTEMPTS || !isPassing(error)) {
          this.#parts.log.warn({ image: nameOf(wanted), rule: wanted.rule, reason }, 'not synced');
          return { rule: wanted.rule, image: nameOf(wanted), reason };
        }
        await this.#parts.timer.wait(pauseAfter(error, attempt), signal);
      }
    }
  }

  async #fetch({ wanted, before }: PlannedItem, signal: AbortSignal): Promise<void> {
    const { supply, gate, meter, catalog } = this.#parts;
    const { target, tag, digest, checkedAt } = wanted;
    // Looked at anew: another image may have brought some of it meanwhile.
    const { missing } = await Walk.over(this.#parts, { target, digest }, wanted);
    for (const blob of missing) {
      await gate.passed(signal);
      const pace: Pace = async (bytes, haste) => meter.pass(bytes, haste);
      if (!(await supply.holdBlob(target, blob.digest, { pace }))) {
        throw new Error(`the upstream has no ${blob.digest}`);
      }
      signal.throwIfAborted();
    }
    const left = await Walk.over(this.#parts, { target, digest }, wanted);
    const [first] = left.missing;
    if (first) throw new Error(`${first.digest} was fetched and is not there`);
    if (tag === undefined) return;
    const known = await catalog.findTag(target, tag);
    // A client's question may have had a later answer.
    const isOlder = known !== undefined && known.digest !== before && known.checkedAt > checkedAt;
    if (!isOlder) await supply.recordTag(target, tag, digest, checkedAt);
  }

  async #release({ departures }: Plan): Promise<void> {
    const { pins, log } = this.#parts;
    for (const { image, action, why } of departures) {
      log.info({ image: nameOf(image), rule: image.rule, action, why }, 'left the selection');
      if (action !== 'release') continue;
      const name = `${formatTarget(image.target)}@${image.digest}`;
      await pins.remove({ origin: ORIGIN, image: name });
    }
  }
}

function keep(image: KnownImage, why: string): KnownImage {
  return { ...image, kept: why.startsWith('its tag') ? 'moved' : 'deleted' };
}

/** A kept copy of a moved tag stands beside the new one: they differ in their digest. */
function unique(images: readonly KnownImage[]): KnownImage[] {
  return [...new Map(images.map((image) => [`${keyOf(image)} ${image.digest}`, image])).values()];
}

/** Whether another attempt may do better. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  return ['unreachable', 'timeout', 'failing', 'rate-limited'].includes(error.fault);
}

function pauseAfter(error: unknown, attempt: number): number {
  const asked = error instanceof UpstreamError ? (error.retryAfterMs ?? 0) : 0;
  return Math.min(MAX_PAUSE_MS, Math.max(asked, FIRST_PAUSE_MS * 3 ** (attempt - 1)));
}
