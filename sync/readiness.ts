import type { SyncImage } from '../src/api/sync-api.ts';
import { formatTarget } from '../src/oci/reference.ts';
import type { BlobStore } from '../src/store/files/blob-store.ts';
import type { Catalog } from '../src/store/catalog/catalog.ts';
import type { KnownImage, State } from './state.ts';
import { Walk, type Extent } from './walk.ts';
import { digestNameOf, nameOf } from './wanted-image.ts';

export interface ReadinessParts {
  readonly state: State;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly now: () => number;
}

const MAX_MISSING_TOLD = 10;

/** What would break if the link went now: from a walk of the files that are really there. */
export class Readiness {
  readonly #parts: ReadinessParts;

  constructor(parts: ReadinessParts) {
    this.#parts = parts;
  }

  async images(): Promise<SyncImage[]> {
    const described: SyncImage[] = [];
    for (const image of this.#parts.state.current.images) described.push(await this.#judge(image));
    return described;
  }

  /** By `name:tag` or `name@digest`, with its registry. */
  async explain(name: string): Promise<SyncImage | undefined> {
    const found = this.#parts.state.current.images.find(
      (image) => nameOf(image) === name || digestNameOf(image) === name,
    );
    return found && this.#judge(found);
  }

  async #judge(image: KnownImage): Promise<SyncImage> {
    const { catalog, now } = this.#parts;
    const { target, tag, digest, rule, platforms, checkedAt, freshMs, kept } = image;
    const extent = await Walk.over(this.#parts, { target, digest }, image);
    const meant = tag && (await catalog.findTag(target, tag))?.digest;
    // A kept copy of a tag that moved is there for its digest.
    const isElsewhere = tag !== undefined && meant !== digest && kept !== 'moved';
    const isPartial = extent.missing.length > 0 || isElsewhere || extent.isForOthers;
    const isStale = kept === undefined && now() - checkedAt > freshMs;
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
  if (count > 0) return count === 1 ? 'one file is missing' : `${count} files are missing`;
  if (isForOthers) return 'it is for none of the platforms of its rule';
  if (isElsewhere && meant !== undefined) return `its tag still means ${meant} here`;
  return 'its files are here, its tag is not recorded yet';
}

function describeAge({ kept }: KnownImage, isStale: boolean): string | undefined {
  if (kept === 'deleted') return 'kept: the upstream has it no more';
  if (kept === 'moved') return 'kept: its tag means another image upstream';
  return isStale ? 'not confirmed by the upstream for longer than its rule allows' : undefined;
}
