import PQueue from 'p-queue';
import type { SyncConfig } from '../src/config/sync-config.ts';
import type { Supply } from '../src/mirror/supply.ts';
import type { Digest } from '../src/oci/digest.ts';
import { formatTarget, type Tag, type Target } from '../src/oci/reference.ts';
import type { BlobStore } from '../src/store/blob-store.ts';
import type { Catalog } from '../src/store/catalog.ts';
import { findDepartures, type Departure } from './departure.ts';
import { readLock } from './lock.ts';
import { reasonOf, Resolver, type Problem, type Resolution } from './resolver.ts';
import type { State } from './state.ts';
import { Walk, type Acquire, type Extent } from './walk.ts';
import { keyOf, type WantedImage } from './wanted-image.ts';

export interface PlannerParts {
  readonly config: SyncConfig;
  readonly supply: Supply;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly state: State;
  readonly now: () => number;
}

/** An image with what it lacks. */
export interface PlannedItem {
  readonly wanted: WantedImage;
  readonly extent: Extent;
  /** What its tag means here so far. */
  readonly before?: Digest;
  /** When its referrers were last looked for. */
  readonly searchedAt?: number;
}

export interface Plan {
  readonly createdAt: number;
  readonly items: readonly PlannedItem[];
  readonly departures: readonly Departure[];
  readonly problems: readonly Problem[];
  /** Of them those of images whose digest is known, by `keyOf`: they stay wanted. */
  readonly failed: readonly WantedImage[];
}

/** Images that are looked through at a time. */
const AT_A_TIME = 4;
/** A signature that is made later is found this late. */
const SEARCH_AGAIN_MS = 24 * 3_600_000;
const ATTACHED = ['.sig', '.att', '.sbom'] as const;

/**
 * Turns rules into what is to be done: digests by HEAD, manifests where they are not held yet, and
 * a look at every file. No layer is fetched. An image that is held, complete and unchanged costs its
 * HEAD and nothing else.
 */
export class Planner {
  readonly #parts: PlannerParts;

  constructor(parts: PlannerParts) {
    this.#parts = parts;
  }

  /** Throws `RegistryError` for a lock that does not match the rules. */
  async plan(lock?: unknown, signal?: AbortSignal): Promise<Plan> {
    const { config, state, now } = this.#parts;
    const resolution = await this.#resolve(lock);
    const items: PlannedItem[] = [];
    const problems = [...resolution.problems];
    const failed: WantedImage[] = [];
    const queue = new PQueue({ concurrency: AT_A_TIME });
    await queue.addAll(
      resolution.images.map((wanted) => async () => {
        if (signal?.aborted) return;
        try {
          items.push(await this.#examine(wanted));
        } catch (error) {
          failed.push(wanted);
          const image = nameOf(wanted);
          problems.push({ rule: wanted.rule, image, reason: reasonOf(error) });
        }
      }),
    );
    signal?.throwIfAborted();
    const departures = findDepartures(state.current.images, resolution, config.releaseShare);
    return { createdAt: now(), items: items.toSorted(byPriority), departures, problems, failed };
  }

  async #resolve(lock: unknown): Promise<Resolution> {
    const { config, now } = this.#parts;
    if (lock === undefined) return Resolver.resolve(this.#parts, config.rules);
    const images = readLock(config, lock, now());
    return { images, absent: new Set(), unknown: new Set(), problems: [], requests: 0 };
  }

  async #examine(wanted: WantedImage): Promise<PlannedItem> {
    const { catalog, state, now } = this.#parts;
    const { target, tag, digest } = wanted;
    const before = tag && (await catalog.findTag(target, tag))?.digest;
    const known = state.current.images.find((image) => keyOf(image) === keyOf(wanted));
    const searchedAt = known?.digest === digest ? known.searchedAt : undefined;
    const item = { wanted, ...(before && { before }) };
    const held = await Walk.over(this.#parts, { target, digest }, wanted);
    const isSearched = searchedAt !== undefined && now() - searchedAt < SEARCH_AGAIN_MS;
    if (held.missing.length === 0 && (isSearched || !wanted.referrers)) {
      return { ...item, extent: held, searchedAt: searchedAt ?? now() };
    }
    const acquire = this.#acquire(target);
    const extent = await Walk.over({ ...this.#parts, acquire }, { target, digest }, wanted);
    if (extent.bytes === 0) throw new Error('the upstream has no such manifest');
    return { ...item, extent, searchedAt: now() };
  }

  #acquire(target: Target): Acquire {
    const { supply } = this.#parts;
    return {
      manifest: async (digest) => supply.holdManifest(target, digest),
      referrers: async (digest) => {
        for (const referrer of await supply.referrers(target, digest)) {
          await supply.holdManifest(target, referrer.digest);
        }
        for (const suffix of ATTACHED) {
          await this.#attach(target, `${digest.replace(':', '-')}${suffix}` as Tag);
        }
      },
    };
  }

  /** What cosign keeps under a tag of its own. */
  async #attach(target: Target, tag: Tag): Promise<void> {
    const { supply, now } = this.#parts;
    const digest = await supply.resolve(target, tag);
    if (digest && (await supply.holdManifest(target, digest))) {
      await supply.recordTag(target, tag, digest, now());
    }
  }
}

export function nameOf({ target, tag, digest }: WantedImage): string {
  const name = formatTarget(target);
  return tag === undefined ? `${name}@${digest}` : `${name}:${tag}`;
}

function byPriority(a: PlannedItem, b: PlannedItem): number {
  return b.wanted.priority - a.wanted.priority || (keyOf(a.wanted) < keyOf(b.wanted) ? -1 : 1);
}
