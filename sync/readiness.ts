import type { SyncImage, SyncStatus } from '../src/api/sync-api.ts';
import { formatTarget } from '../src/oci/reference.ts';
import { ageOf } from '../src/time/clock.ts';
import type { KnownImage } from './state.ts';
import { measureExtent, type Extent } from './extent.ts';
import { digestNameOf, nameOf } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

const MAX_MISSING_TOLD = 10;

/** How much of each selected image is held, judged by the files on the disk. */
export class Readiness {
  readonly #parts: SyncParts;

  constructor(parts: SyncParts) {
    this.#parts = parts;
  }

  /**
   * Every selected image with its state, and the counts of states, which also go to the metrics.
   */
  async survey(): Promise<Pick<SyncStatus, 'images' | 'counts'>> {
    const { state, metrics } = this.#parts;
    const images: SyncImage[] = [];
    const counts = { ready: 0, partial: 0, stale: 0 };
    for (const known of state.current.images) {
      const image = await this.#judge(known);
      images.push(image);
      counts[image.state] += 1;
    }
    for (const [each, count] of Object.entries(counts)) {
      metrics.syncImages.set({ state: each }, count);
    }
    return { counts, images };
  }

  /** By `name:tag` or `name@digest`, with its registry. */
  async explain(name: string): Promise<SyncImage | undefined> {
    const found = this.#parts.state.current.images.find(
      (image) => nameOf(image) === name || digestNameOf(image) === name,
    );
    return found && this.#judge(found);
  }

  async #judge(image: KnownImage): Promise<SyncImage> {
    const { catalog, timer } = this.#parts;
    const { target, tag, digest, rule, platforms, checkedAt, freshMs, kept } = image;
    const extent = await measureExtent(this.#parts, { target, digest }, image);
    const meant = tag && (await catalog.findTag(target, tag))?.digest;
    // A copy that is kept after its tag moved is served by digest only.
    const isElsewhere = tag !== undefined && meant !== digest && kept !== 'moved';
    const isPartial = extent.missing.length > 0 || isElsewhere || extent.isForOthers;
    const isStale = kept === undefined && (ageOf(checkedAt, timer) ?? 0) > freshMs;
    const reason = isPartial
      ? describeLack(extent, meant, isElsewhere)
      : describeAge(image, isStale);
    return {
      image: formatTarget(target),
      ...(tag !== undefined && { tag }),
      digest,
      rule,
      platforms,
      state: isPartial ? 'partial' : isStale ? 'stale' : 'ready',
      bytes: extent.bytes,
      missingBytes: extent.missingBytes,
      missing: extent.missing.slice(0, MAX_MISSING_TOLD),
      ...(isElsewhere && { lacksTag: true as const }),
      checkedAt,
      ...(reason !== undefined && { reason }),
    };
  }
}

function describeLack(
  { missing: { length: count }, isForOthers }: Extent,
  meant: string | undefined,
  isElsewhere: boolean,
): string {
  if (count > 0) return count === 1 ? TEXTS.oneMissing : TEXTS.someMissing({ count });
  if (isForOthers) return TEXTS.noPlatform;
  if (isElsewhere && meant !== undefined) return TEXTS.otherDigest({ digest: meant });
  return TEXTS.tagNotRecorded;
}

function describeAge({ kept }: KnownImage, isStale: boolean): string | undefined {
  if (kept === 'deleted') return TEXTS.keptDeleted;
  if (kept === 'moved') return TEXTS.keptMoved;
  return isStale ? TEXTS.tooOld : undefined;
}
