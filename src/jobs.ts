import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Drafts } from '../sync/bundle/drafts.ts';
import { Layouts } from '../sync/bundle/layouts.ts';
import { SiteInventory } from '../sync/bundle/site-inventory.ts';
import { Imports } from '../sync/bundle/imports.ts';
import { SiteState } from '../sync/bundle/site-state.ts';
import { REAL_TIMER } from '../sync/schedule.ts';
import { SyncState } from '../sync/state.ts';
import { NOTHING_TO_SYNC, Sync, type SyncOptions } from '../sync/sync.ts';
import { Warmer } from '../sync/warmer.ts';
import { canonicalImage } from './admin/store-admin.ts';
import type { Config } from './config/config.ts';
import type { Addressing, ResolvedImage } from './mirror/addressing.ts';
import type { Mirror } from './mirror/mirror.ts';
import type { Digest } from './oci/digest.ts';
import { DEFAULT_TAG, type Target } from './oci/reference.ts';
import type { Budget } from './store/care/care.ts';
import type { CrashPoint, Store } from './store/store.ts';
import type { Clock } from './time/clock.ts';

interface JobsParts extends Pick<SyncOptions, 'catalog' | 'blobs' | 'pins' | 'metrics' | 'log'> {
  /** What may be pulled. */
  readonly admission: Pick<SyncOptions, 'refusal' | 'isJudged'> & {
    report(
      target: Target,
      digest: Digest,
      how: { readonly reach: 'held' },
    ): ReturnType<SyncOptions['verdicts']>;
  };
  readonly budget: Budget;
  readonly step: CrashPoint;
  readonly clock: Clock;
  readonly store: Store;
  readonly mirror: Mirror;
  /** By the configuration as it is now. */
  readonly addressing: () => Addressing;
  /** The same. */
  readonly config: () => Config;
}

/**
 * The work beside the pulls that the admin API is asked for: what the site must hold, what is warmed,
 * and what goes by bundle.
 */
export async function openJobs(config: Config, parts: JobsParts) {
  const { clock, store, mirror, addressing, admission, ...rest } = parts;
  const own = {
    ...rest,
    refusal: (async (...asked) => admission.refusal(...asked)) satisfies SyncOptions['refusal'],
    isJudged: (target: Target) => admission.isJudged(target),
    verdicts: (async (...asked) =>
      admission.report(...asked, { reach: 'held' })) satisfies SyncOptions['verdicts'],
  };
  const now = (): number => clock.wall();
  const brought = await SiteState.open(store.path, parts.log);
  const syncState = await SyncState.open(join(store.path, 'sync.json'));
  const fetching = { ...own, timer: { ...REAL_TIMER, ...clock }, isOffline: config.offline };
  const selecting = {
    ...fetching,
    config: config.sync ?? NOTHING_TO_SYNC,
    state: syncState,
    prefetcher: mirror.prefetcher,
    brought: () => brought.images,
  };
  const sync = new Sync({
    ...selecting,
    canonical: (image) => canonicalImage(addressing(), image, DEFAULT_TAG),
  });
  const resolve = (image: string): ResolvedImage => addressing().resolveImage(image);
  const warm = new Warmer({ ...fetching, prefetcher: mirror.warming, resolve });
  const drafts = new Drafts({ ...selecting, resolve, store });
  const inventory = new SiteInventory({ store, applied: () => brought.numbers });
  const layouts = new Layouts({ ...own, ...store.parts, resolve, now });
  const receiving = { ...own, timer: fetching.timer, storePath: store.path, state: brought };
  const imports = new Imports({ ...receiving, synced: () => syncState.imageNames, now });
  return {
    sync,
    warm,
    bundles: { inventory, drafts, imports, layouts },
    /** True when sync goes by other rules, and is to be started again. */
    configure: (before: Config, next: Config): boolean => {
      const isOffline = next.offline;
      warm.configure({ isOffline });
      const isSame = isDeepStrictEqual([before.sync, before.offline], [next.sync, isOffline]);
      if (!isSame) sync.configure(next.sync ?? NOTHING_TO_SYNC, { isOffline });
      drafts.configure(next.sync ?? NOTHING_TO_SYNC);
      return !isSame;
    },
    /** Ends what is under way at its next step. */
    stop: () => {
      sync.stop();
      warm.stop();
      drafts.stop();
      inventory.stop();
      imports.stop();
    },
    /** Resolves, after `stop`, when nothing is under way any more. */
    closed: async () => {
      await sync.closed();
      await warm.closed();
      await drafts.closed();
      await layouts.closed();
      await inventory.closed();
      await imports.closed();
    },
  };
}
