import PQueue from 'p-queue';
import type { DraftReport } from '../../src/api/bundle-api.ts';
import type { SyncProblem, SyncProgress } from '../../src/api/sync-api.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { Bandwidth } from '../../src/upstream/bandwidth.ts';
import { recordSearches } from '../image-fetch.ts';
import { bringImage, type BringParts } from '../image-bringing.ts';
import { findImageFiles } from '../image-files.ts';
import type { SyncParts } from '../parts.ts';
import { isToFetch, joinPlans, upstreamPlans, type PlannedItem } from '../planner.ts';
import { PASSING_FAULTS, Retries } from '../retries.ts';
import { RunProgress } from '../run-progress.ts';
import { Schedule } from '../schedule.ts';
import type { ContentImage } from './draft-content.ts';
import { HeldSource } from './held-source.ts';
import type { Selection } from './selection.ts';

export interface DraftImagesParts extends Omit<SyncParts, 'config' | 'schedule'> {
  /** Keeps a file from being evicted, also one that is not here yet. */
  readonly keep: (digest: Digest) => void;
}

export interface BroughtImages {
  /** Held whole where there are no problems. */
  readonly images: readonly ContentImage[];
  readonly problems: DraftReport['problems'];
  /** Tags that are as their upstream last said, which gave no answer now. */
  readonly unasked: readonly string[];
}

/**
 * The images of a draft: selected and planned as sync does it, and what is missing of them is fetched,
 * in the windows of sync and below its cap. Of an upstream that gives no answer, what is held is taken.
 * What sync remembers and pins stays as it is.
 */
export class DraftImages {
  readonly #parts: SyncParts & Pick<DraftImagesParts, 'keep'>;
  readonly #selection: Selection;
  readonly #source: HeldSource;
  readonly #progress: RunProgress;
  #phase: 'planning' | 'fetching' = 'planning';

  constructor(parts: DraftImagesParts, selection: Selection) {
    const { config } = selection;
    this.#selection = selection;
    this.#source = new HeldSource(parts);
    this.#progress = new RunProgress(parts.timer);
    this.#parts = {
      ...parts,
      config,
      prefetcher: this.#source,
      schedule: new Schedule(config, parts.timer),
    };
  }

  get progress(): SyncProgress {
    const { closed } = this.#parts.schedule;
    return closed
      ? this.#progress.describe('waiting', closed.closedUntil)
      : this.#progress.describe(this.#phase);
  }

  /** Where there are problems nothing more is fetched. */
  async bring(): Promise<BroughtImages> {
    const { items, kept, problems } = await this.#plan();
    const images = [...items.map(({ wanted }) => wanted), ...kept];
    const { unasked } = this.#source;
    if (problems.length > 0) return { images, problems: problems.map(describe), unasked };
    const looked = await this.#keep(items);
    await this.#keep(kept.map((wanted) => ({ wanted, attached: [] })));
    const failures = await this.#fetchAll(looked);
    return { images, problems: failures.map(describe), unasked };
  }

  async #plan(): Promise<{
    items: readonly PlannedItem[];
    /** What the upstream has no more, and the rules keep. */
    kept: readonly ContentImage[];
    problems: readonly SyncProblem[];
  }> {
    const { lock, only, isByRules } = this.#selection;
    const makes = [...upstreamPlans(this.#parts, lock, only).values()];
    const ends = await Promise.allSettled(makes.map(async (make) => make()));
    const { items, problems, deselected } = await joinPlans(this.#parts, ends, {
      isLocked: lock !== undefined,
    });
    if (isByRules) {
      const kept = deselected.filter(
        ({ action, became }) => action === 'keep' && became === 'deleted',
      );
      return { items, problems, kept: kept.map(({ image }) => image) };
    }
    const own = ends.flatMap((end) => (end.status === 'fulfilled' ? end.value.problems : []));
    return { items, problems: own, kept: [] };
  }

  /** As they are once nothing of them is evicted any more. */
  async #keep<Item extends Pick<PlannedItem, 'attached'> & { wanted: ContentImage }>(
    items: readonly Item[],
  ): Promise<(Item & Pick<PlannedItem, 'files'>)[]> {
    const found = this.#parts.keep;
    const kept = [];
    for (const item of items) {
      const attached = item.attached.map(({ digest }) => digest);
      for (const digest of attached) found(digest);
      // The second time all that is found is kept.
      await findImageFiles({ ...this.#parts, found, attached }, item.wanted, item.wanted);
      const files = await findImageFiles({ ...this.#parts, attached }, item.wanted, item.wanted);
      kept.push({ ...item, files });
    }
    return kept;
  }

  async #fetchAll(items: readonly PlannedItem[]): Promise<SyncProblem[]> {
    const { config, timer, signal } = this.#parts;
    const { bytesPerSecond, concurrency } = config;
    this.#phase = 'fetching';
    this.#progress.expect(items);
    const parts: BringParts = {
      ...this.#parts,
      progress: this.#progress,
      cap: bytesPerSecond === undefined ? undefined : new Bandwidth(bytesPerSecond),
      retries: new Retries({ timer, signal, faults: PASSING_FAULTS }),
    };
    const lanes = Map.groupBy(items, ({ wanted }) => wanted.target.upstream);
    const failures = [...lanes.values()].map(async (own) => {
      const queue = new PQueue({ concurrency });
      return queue.addAll(own.map((item) => async () => this.#bring(parts, item)));
    });
    const all = (await Promise.all(failures)).flat();
    signal.throwIfAborted();
    return all.filter((failure) => failure !== undefined);
  }

  async #bring(parts: BringParts, item: PlannedItem): Promise<SyncProblem | undefined> {
    if (parts.signal.aborted) return undefined;
    const { target } = item.wanted;
    const searched = item.searched.filter((each) => this.#source.isSearched(target, each));
    const isHeld = !isToFetch(item) && item.attached.length === 0;
    if (isHeld) await recordSearches(parts, target, searched);
    const failure = isHeld ? undefined : await bringImage(parts, { ...item, searched });
    this.#progress.ended(failure === undefined);
    return failure;
  }
}

function describe({ image, reason }: SyncProblem): DraftReport['problems'][number] {
  return { image, reason };
}
