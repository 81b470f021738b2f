import type { ByteRange } from '../../oci/content.ts';
import type { RangesMode } from '../../config/config.ts';
import { IdleParts } from './idle-parts.ts';

/** What a client asks for of a blob. */
export interface AskedRanges {
  /** Of a blob of this size; the whole when it is `undefined`. */
  readonly of: (size: number) => readonly ByteRange[] | undefined;
  /** It goes from a position to the end, wherever that is. */
  readonly isOpen: boolean;
}

/** Ranges of a cold blob are fetched in pieces that begin and end at multiples of this. */
export const GRANULE_BYTES = 256 * 1024;
/**
 * Who asks for more at once reads it from one end to the other. Lazy snapshotters ask for up to 4 MiB; what
 * asks for more brings all of a layer.
 */
export const PART_BYTES = 8 * 1024 * 1024;
/** So far behind what comes, more than such a range is long, a byte may come by another transfer. */
export const FAR_BYTES = PART_BYTES + 4 * GRANULE_BYTES;
/** With so much of a blob here the rest is soon wanted. */
const ENOUGH = 0.3;
/** How long an upstream that does not answer ranges as it should is asked for whole blobs. */
const REFUSED_MS = 10 * 60_000;

/** What a range of a cold blob fetches from an upstream, from the configuration and from how it answers. */
export class RangePolicy {
  readonly idle = new IdleParts();
  #mode: RangesMode = 'whole';
  #isHydrated = false;
  #refusedUntil = -Infinity;

  configure(mode: RangesMode, { isHydrated }: { readonly isHydrated: boolean }): void {
    this.#mode = mode;
    this.#isHydrated = isHydrated;
  }

  /** Whether it may be fetched without the rest, as far as can be said without the size. */
  mayBeParts(asked: AskedRanges | undefined): asked is AskedRanges {
    return asked !== undefined && this.#mode !== 'whole' && this.honoursRanges;
  }

  /** What is fetched without the rest; `undefined` where all of the blob is wanted. */
  partsOf(asked: AskedRanges | undefined, size: number): readonly ByteRange[] | undefined {
    if (!this.mayBeParts(asked) || size <= GRANULE_BYTES) return undefined;
    const ranges = asked.of(size);
    if (!ranges || this.#mode === 'sparse') return ranges;
    // Nothing of it lies inside: it is refused, and brings nothing.
    if (ranges.length === 0) return ranges;
    const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    return asked.isOpen || bytes > PART_BYTES || bytes > size - GRANULE_BYTES ? undefined : ranges;
  }

  /** As far as is known. */
  get honoursRanges(): boolean {
    return performance.now() >= this.#refusedUntil;
  }

  /** So much of a blob is here that the rest follows. */
  isEnough(held: number, size: number): boolean {
    return this.#mode === 'auto' && this.#isHydrated && held >= size * ENOUGH;
  }

  /** It answered something else than the range. */
  fallBack(): void {
    this.#refusedUntil = performance.now() + REFUSED_MS;
  }
}
