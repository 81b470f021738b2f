import type { Released } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, type Tag } from '../../oci/reference.ts';
import { Slices } from '../../time/slices.ts';
import { nodeOf, unitOf, type Catalog, type Evicted, type Node } from '../catalog/catalog.ts';
import type { BlobStore } from '../files/blob-store.ts';
import { noCrashPoint, type CrashPoint } from '../faults.ts';
import { TEXTS } from '../texts.ts';
import type { AccessTimes } from './access-times.ts';
import { type Pins, PinSurvey } from './pins.ts';
import { Protection } from './protection.ts';

/** What images are evicted for. */
export type Shortage = 'budget' | 'free-space' | 'request';

/** An image, or a blob that no manifest lists, that was evicted or would be. */
export interface EvictedImage {
  /** The repository with its upstream; empty for a blob that no manifest lists. */
  readonly image: string;
  readonly tags: readonly Tag[];
  readonly digest: Digest;
  readonly lastPulledAt: number;
  readonly blobs: number;
  /** What it frees. */
  readonly bytes: number;
}

export interface SparedImage {
  readonly image: string;
  readonly digest: Digest;
  readonly why: string;
}

export interface EvictionResult {
  readonly wantedBytes: number;
  readonly images: readonly EvictedImage[];
  /** Older images that stay, and why. */
  readonly kept: readonly SparedImage[];
}

export interface EvictorParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly access: AccessTimes;
  readonly now: () => number;
  /** Told of each image whose bytes are freed. */
  readonly evicted: (image: EvictedImage, reason: Shortage) => void;
  /** Told that the disk does not remove a file: more evictions would empty the catalog and not the disk. */
  readonly stuck: () => void;
  readonly slices?: Slices;
  readonly step?: CrashPoint;
}

export interface EvictionOptions {
  readonly reason: Shortage;
  /** Asked before each image. */
  readonly isOver?: () => boolean;
}

type Due = { readonly unit: string; readonly time: number };

interface Walk {
  /** The one that was not pulled for longest first. */
  readonly units: AsyncIterable<Due> | Iterable<Due>;
  readonly evict: (unit: string) => Promise<Evicted>;
  readonly chosen?: (due: Due) => void;
  readonly told?: (image: EvictedImage) => void;
  readonly isOver?: () => boolean;
}

interface Walked {
  readonly result: EvictionResult;
  /** The walk came to the end of what there is, or of what was wanted. */
  readonly isWhole: boolean;
}

/** A plan finds enough for some steps of a transfer, and is as good for a while. */
const PLAN_BYTES = 256 * 1024 * 1024;
const PLAN_MS = 60_000;
const MAX_KEPT_TOLD = 1_000;
const BUSY = new Error('being read or written');

/**
 * Evicts whole images, the one that was not pulled for longest first, each with what it alone holds;
 * never what is pinned, read or on its way. Works through one image after the other, with a memory
 * that does not depend on the size of the store.
 */
export class Evictor {
  readonly #parts: EvictorParts;
  readonly #step: CrashPoint;
  readonly #slices: Slices;
  readonly #survey: PinSurvey;
  /** What the last plan found and that is not evicted yet. */
  #planned: { due: Due[]; until: number; pins: number } = { due: [], until: 0, pins: -1 };
  #isStopped = false;

  constructor(parts: EvictorParts) {
    this.#parts = parts;
    this.#survey = new PinSurvey(parts);
    this.#step = parts.step ?? noCrashPoint;
    this.#slices = parts.slices ?? new Slices();
  }

  /** What `evict` would do. */
  async plan(wantedBytes: number): Promise<EvictionResult> {
    const { catalog, pins } = this.#parts;
    const due: Due[] = [];
    const evict = catalog.planEvictions();
    const { result } = await this.#walk(wantedBytes, {
      units: catalog.oldest(),
      evict,
      chosen: (each) => due.push(each),
    });
    this.#planned = { due, until: performance.now() + PLAN_MS, pins: pins.version };
    return result;
  }

  /** Rejects when the catalog cannot evict, or the disk does not remove a file. */
  async evict(wantedBytes: number, options: EvictionOptions): Promise<Walked> {
    await this.#parts.catalog.counted;
    return this.#evict(wantedBytes, { ...options, units: this.#parts.catalog.oldest() });
  }

  /**
   * As `evict`, of what the last plan has found: what lacks little by little takes one walk over the
   * images, however many of them stay.
   */
  async evictPlanned(wantedBytes: number, options: EvictionOptions): Promise<EvictionResult> {
    await this.#parts.catalog.counted;
    const { until, pins, due } = this.#planned;
    const isFresh =
      due.length > 0 && performance.now() < until && pins === this.#parts.pins.version;
    if (!isFresh) await this.plan(Math.max(wantedBytes, PLAN_BYTES));
    const { result } = await this.#evict(wantedBytes, { ...options, units: this.#takePlanned() });
    const left = wantedBytes - sumOf(result.images).bytes;
    if (left <= 0 || !isFresh || this.#isStopped || options.isOver?.()) return result;
    const more = await this.evictPlanned(left, options);
    return { wantedBytes, images: [...result.images, ...more.images], kept: more.kept };
  }

  *#takePlanned(): Generator<Due> {
    const { due } = this.#planned;
    while (due.length > 0) {
      yield due[0]!;
      // Not before it was dealt with: a walk that has enough leaves it.
      due.shift();
    }
  }

  async #evict(
    wantedBytes: number,
    { reason, isOver, units }: EvictionOptions & Pick<Walk, 'units'>,
  ): Promise<Walked> {
    const { evicted: told } = this.#parts;
    return this.#walk(wantedBytes, {
      units,
      evict: async (unit) => this.release(unit),
      told: (image) => told(image, reason),
      ...(isOver && { isOver }),
    });
  }

  /** Evicts a unit, or one tag of it alone, and then removes the files that nothing holds any more. */
  async release(unit: string, only?: Tag): Promise<Evicted> {
    const evicted = await this.#parts.catalog.evict(unit, only);
    this.#step('evict.released');
    const freed = await this.#removeFiles(evicted);
    this.#step('evict.removed');
    return freed;
  }

  /** Walks end after the image that is being evicted. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Units from the oldest on until enough is evicted. */
  async #walk(wantedBytes: number, walk: Walk): Promise<Walked> {
    const { units, evict, chosen, told, isOver } = walk;
    const { catalog, access } = this.#parts;
    const images: EvictedImage[] = [];
    const kept: SparedImage[] = [];
    const result = { wantedBytes, images, kept };
    // A catalog that could not write last pulls may still take evictions.
    await access.flush().catch(() => undefined);
    const protection = await Protection.begin({ ...this.#parts, survey: this.#survey });
    const evicted = new Set<string>();
    let freed = 0;
    for await (const oldest of units) {
      // Parts that an image leaves behind are as old as the image: they are due at once.
      const due = [oldest];
      for (const { unit, time } of due) {
        await this.#slices.step();
        const isWhole = freed >= wantedBytes || this.#isStopped;
        if (isWhole || isOver?.()) return { result, isWhole };
        if (evicted.has(unit)) continue;
        // Pulled again, or evicted with another one, since the walk began.
        const isKnown = protection.knownReasonFor(unit) !== undefined;
        if (!isKnown && (await catalog.lastPull(unit)) !== time) continue;
        const why = await this.#whyKept(unit, { protection, evicted });
        if (why !== undefined) {
          // What is evicted with another image is not told of by itself.
          if (why !== TEXTS.part && kept.length < MAX_KEPT_TOLD)
            kept.push({ ...nameOf(unit), why });
          continue;
        }
        chosen?.({ unit, time });
        const { tags, blobs, bytes, manifests, left } = await evict(unit);
        freed += bytes;
        const count = blobs.length;
        const image = { ...nameOf(unit), tags, lastPulledAt: time, blobs: count, bytes };
        images.push(image);
        told?.(image);
        for (const { target, digest } of manifests) evicted.add(unitOf(target, digest));
        for (const each of await this.#dueOf(left, time)) due.push(each);
      }
    }
    return { result, isWhole: true };
  }

  async #whyKept(
    unit: string,
    { protection, evicted }: { protection: Protection; evicted: ReadonlySet<string> },
  ): Promise<string | undefined> {
    const { catalog, access } = this.#parts;
    const why = await protection.reasonFor(unit, evicted);
    const node = why === undefined ? nodeOf(unit) : undefined;
    if (!node) return why;
    // Pulled since the walk began; the catalog learns of it later.
    if (access.isNoted(node.target, await catalog.below(node))) return TEXTS.pulled;
    const elsewhere = await protection.reasonElsewhere(node, evicted);
    const freesNothing = elsewhere && (await catalog.planEvictions()(unit)).bytes === 0;
    return freesNothing ? elsewhere : undefined;
  }

  async #dueOf(left: readonly Node[], until: number): Promise<{ unit: string; time: number }[]> {
    const units = left.map(({ target, digest }) => unitOf(target, digest));
    const times = await this.#parts.catalog.lastPulls(units);
    return units
      .map((unit, position) => ({ unit, time: times[position] ?? 0 }))
      .filter(({ time }) => time <= until);
  }

  /**
   * Removes the files of what was evicted. What is read or written just now stays, as a blob that no
   * manifest lists, and so does a file that the disk does not remove: it counts, and its turn comes
   * again. Resolves with what was removed.
   */
  async #removeFiles(evicted: Evicted): Promise<Evicted> {
    const { blobs: store, catalog, now, stuck } = this.#parts;
    const removed: { digest: Digest; size: number }[] = [];
    let fault: Error | undefined;
    for (const { digest, size } of evicted.blobs) {
      // The blob may have been downloaded and recorded again since.
      const isRecorded = async () => (await catalog.findBlob(digest)) !== undefined;
      try {
        if (store.isBusy(digest)) throw BUSY;
        if (await store.delete(digest, isRecorded)) removed.push({ digest, size });
      } catch (error) {
        if (await isRecorded()) continue;
        await catalog.adoptBlob(digest, { size, storedAt: now() });
        if (error !== BUSY) fault ??= error as Error;
      }
    }
    if (fault !== undefined) {
      stuck();
      throw fault;
    }
    return { ...evicted, blobs: removed, bytes: sum(removed.map(({ size }) => size)) };
  }
}

/** A blob that no manifest lists is no image. */
export function sumOf(evicted: readonly EvictedImage[]): Released {
  return {
    images: evicted.filter(({ image }) => image !== '').length,
    blobs: sum(evicted.map(({ blobs }) => blobs)),
    bytes: sum(evicted.map(({ bytes }) => bytes)),
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

/** A unit as it is shown to operators. */
function nameOf(unit: string): { image: string; digest: Digest } {
  const node = nodeOf(unit);
  return { image: node ? formatTarget(node.target) : '', digest: node?.digest ?? (unit as Digest) };
}
