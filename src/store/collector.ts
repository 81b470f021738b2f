import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, type Tag } from '../oci/reference.ts';
import type { AccessTimes } from './access-times.ts';
import type { BlobStore } from './blob-store.ts';
import type { Catalog } from './catalog.ts';
import { nodeOf } from './image-graph.ts';
import type { Pins } from './pins.ts';
import { PART, Protection } from './protection.ts';
import type { Released } from './release.ts';
import { noStep, type Step } from './step.ts';
import { Turns } from './turns.ts';

export type Shortage = 'budget' | 'free-space' | 'request';

export interface CollectorParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly access: AccessTimes;
  readonly limits: { readonly maxBytes: number; readonly minFreeBytes: number };
  readonly now: () => number;
  /** Told of each image whose bytes are freed. */
  readonly released: (image: Collected, reason: Shortage) => void;
  /** Told of each collection that came to its end. */
  readonly ended: (collection: Collection) => void;
  readonly step?: Step;
}

/** An image, or a blob that no manifest lists, that was let go of or would be. */
export interface Collected {
  /** The repository with its upstream; empty for a blob that no manifest lists. */
  readonly image: string;
  readonly tags: readonly Tag[];
  readonly digest: Digest;
  readonly lastPulledAt: number;
  readonly blobs: number;
  /** What it frees. */
  readonly bytes: number;
}

export interface Collection {
  readonly wantedBytes: number;
  readonly images: readonly Collected[];
  /** Older images that stay, and why. */
  readonly kept: readonly {
    readonly image: string;
    readonly digest: Digest;
    readonly why: string;
  }[];
}

/** Of the budget: above the first, collecting begins beside the work; it ends below the second. */
const HIGH_WATERMARK = 0.95;
const LOW_WATERMARK = 0.9;
const MAX_KEPT_TOLD = 1_000;

/**
 * Keeps the store to its budget and the disk to its floor. What goes is whole images, the one that
 * was not pulled for longest first, each with what it alone holds; never what is pinned, read or on
 * its way. It works through one image after the other beside the pulls, with a memory that does not
 * depend on the size of the store.
 */
export class Collector {
  readonly #parts: CollectorParts;
  readonly #step: Step;
  readonly #turns = new Turns();
  #reserved = 0;
  #isAwake = false;
  #isClosing = false;

  constructor(parts: CollectorParts) {
    this.#parts = parts;
    this.#step = parts.step ?? noStep;
  }

  /** Promised to running downloads. */
  get reservedBytes(): number {
    return this.#reserved;
  }

  /**
   * Sets bytes aside for a download, letting go of images where that is needed; `undefined` when
   * there is no room even so. The caller disposes of the promise when the bytes are recorded.
   */
  async admit(bytes: number): Promise<Disposable | undefined> {
    if ((await this.#shortage(bytes)).bytes > 0) {
      await this.#turns.take(async () => {
        // Whoever had its turn before may have made the room already.
        const { bytes: short, reason } = await this.#shortage(bytes);
        if (short > 0 && bytes <= this.#parts.limits.maxBytes) {
          await this.#collect(Math.max(short, this.#excess(bytes)), reason);
        }
      });
      if ((await this.#shortage(bytes)).bytes > 0) return undefined;
    }
    this.#reserved += bytes;
    this.wake();
    return {
      [Symbol.dispose]: () => {
        this.#reserved -= bytes;
      },
    };
  }

  /** Begins collecting when the store is above its high watermark. */
  wake(): void {
    const { maxBytes } = this.#parts.limits;
    const held = this.#parts.catalog.usage.bytes + this.#reserved;
    if (this.#isAwake || this.#isClosing || held <= maxBytes * HIGH_WATERMARK) return;
    this.#isAwake = true;
    const work = async (): Promise<void> => {
      await this.#collect(this.#excess(0), 'budget');
    };
    // What it could not do now is tried again with the next download.
    void this.#turns
      .take(work)
      .catch(() => undefined)
      .finally(() => {
        this.#isAwake = false;
      });
  }

  /** Lets go of this many bytes; without a figure, of what is above the low watermark. */
  async collect(bytes?: number): Promise<Collection> {
    return this.#turns.take(async () => this.#collect(bytes ?? this.#excess(0), 'request'));
  }

  /** What `collect` would do. */
  async plan(bytes?: number): Promise<Collection> {
    const gone = new Set<string>();
    return this.#walk(bytes ?? this.#excess(0), async (unit) =>
      this.#parts.catalog.planRelease(unit, gone),
    );
  }

  /** Ends after the image that is being let go of. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#turns.take(async () => undefined);
  }

  /** Above the low watermark, with so many bytes to come. */
  #excess(coming: number): number {
    const { maxBytes } = this.#parts.limits;
    const held = this.#parts.catalog.usage.bytes + this.#reserved + coming;
    return Math.max(0, Math.ceil(held - maxBytes * LOW_WATERMARK));
  }

  async #shortage(coming: number): Promise<{ bytes: number; reason: Shortage }> {
    const { catalog, blobs, limits } = this.#parts;
    const free = (await blobs.freeBytes()) ?? Infinity;
    const wanted = this.#reserved + coming;
    const ofBudget = catalog.usage.bytes + wanted - limits.maxBytes;
    const ofDisk = limits.minFreeBytes + wanted - free;
    return ofDisk > ofBudget
      ? { bytes: Math.max(0, ofDisk), reason: 'free-space' }
      : { bytes: Math.max(0, ofBudget), reason: 'budget' };
  }

  async #collect(wantedBytes: number, reason: Shortage): Promise<Collection> {
    const { catalog, released, ended } = this.#parts;
    await catalog.counted;
    const collection = await this.#walk(
      wantedBytes,
      async (unit) => {
        const gone = await catalog.release(unit);
        this.#step('evict.released');
        const freed = await this.#removeFiles(gone);
        this.#step('evict.removed');
        await nextTurn();
        return freed;
      },
      (image) => released(image, reason),
    );
    ended(collection);
    return collection;
  }

  /** Units from the oldest on until enough is let go of. */
  async #walk(
    wantedBytes: number,
    letGo: (unit: string) => Promise<Released>,
    told: (image: Collected) => void = () => undefined,
  ): Promise<Collection> {
    const { catalog, access } = this.#parts;
    const images: Collected[] = [];
    const kept: { image: string; digest: Digest; why: string }[] = [];
    await access.flush();
    const protection = await Protection.survey(this.#parts);
    let freed = 0;
    for await (const { unit, time } of catalog.graph.oldest()) {
      if (freed >= wantedBytes || this.#isClosing) break;
      // Pulled again, or gone with another one, since the walk began.
      if ((await catalog.graph.lastPull(unit)) !== time) continue;
      const node = nodeOf(unit);
      const image = node ? formatTarget(node.target) : '';
      const digest = node?.digest ?? (unit as Digest);
      const why = await protection.reasonFor(unit, time);
      if (why === PART) continue;
      if (why !== undefined) {
        if (kept.length < MAX_KEPT_TOLD) kept.push({ image, digest, why });
        continue;
      }
      const { tags, blobs, bytes } = await letGo(unit);
      freed += bytes;
      const collected = { image, tags, digest, lastPulledAt: time, blobs: blobs.length, bytes };
      images.push(collected);
      told(collected);
    }
    return { wantedBytes, images, kept };
  }

  /** What is read or written just now stays, as a blob that no manifest lists. */
  async #removeFiles(released: Released): Promise<Released> {
    const { blobs: store, catalog, now } = this.#parts;
    const removed: { digest: Digest; size: number }[] = [];
    for (const { digest, size } of released.blobs) {
      if (store.isBusy(digest)) await catalog.adoptBlob(digest, { size, storedAt: now() });
      // Recorded anew since: another download of it was quicker.
      if (await catalog.findBlob(digest)) continue;
      await store.delete(digest);
      removed.push({ digest, size });
    }
    const bytes = removed.reduce((sum, { size }) => sum + size, 0);
    return { ...released, blobs: removed, bytes };
  }
}
