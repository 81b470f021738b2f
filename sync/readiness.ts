import type { SyncImage, SyncStatus } from '../src/api/sync-api.ts';
import type { Digest } from '../src/oci/digest.ts';
import { ageOf } from '../src/time/clock.ts';
import type { KnownImage } from './state.ts';
import { findImageFiles, type ImageFiles, type ImagePart } from './image-files.ts';
import { findRefusal } from './image-refusal.ts';
import { describeImage, imageDigestName, imageName, imageVersionKey } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { SyncParts } from './parts.ts';

const MAX_MISSING_TOLD = 10;

type Parts = Pick<
  SyncParts,
  | 'config'
  | 'state'
  | 'brought'
  | 'refusal'
  | 'isJudged'
  | 'metrics'
  | 'catalog'
  | 'blobs'
  | 'timer'
>;

/**
 * Every image that is selected or that a bundle brought, with how much of it is held, judged by the files
 * on the disk, and the counts of states, which also go to the metrics.
 */
export async function surveyImages(parts: Parts): Promise<Pick<SyncStatus, 'images' | 'counts'>> {
  const images: SyncImage[] = [];
  const unresolved = parts.state.unresolved(parts.config).length;
  const counts = { ready: 0, partial: 0, stale: 0, unresolved };
  const kept = { moved: 0, deleted: 0 };
  let missingBytes = 0;
  for (const known of imagesOf(parts)) {
    const image = await describeReadiness(parts, known);
    images.push(image);
    counts[image.state] += 1;
    missingBytes += image.missingBytes;
    if (known.kept !== undefined) kept[known.kept] += 1;
  }
  const { sync } = parts.metrics;
  for (const [state, count] of Object.entries(counts)) sync.images.set({ state }, count);
  for (const [why, count] of Object.entries(kept)) sync.keptImages.set({ why }, count);
  sync.missingBytes.set(missingBytes);
  return { counts, images };
}

/** What a rule selects and a bundle brought too is the rule's. */
function imagesOf({ state, brought }: Parts): KnownImage[] {
  const selected = state.current.images;
  const own = new Set(selected.map(imageVersionKey));
  return [...selected, ...brought().filter((image) => !own.has(imageVersionKey(image)))];
}

/** Explains the image of a name `name:tag` or `name@digest`, with its registry. */
export async function explainImage(parts: Parts, name: string): Promise<SyncImage | undefined> {
  const found = parts.state.current.images.find(
    (image) => imageName(image) === name || imageDigestName(image) === name,
  );
  return found && describeReadiness(parts, found);
}

export async function describeReadiness(parts: Parts, image: KnownImage): Promise<SyncImage> {
  const { catalog, timer } = parts;
  const { target, tag, digest, platforms, checkedAt, freshMs, kept } = image;
  const files = new Set<Digest>();
  const found = (file: Digest, { subject }: ImagePart): void => {
    if (subject === undefined) files.add(file);
  };
  const { bytes, missing, missingBytes, isForOthers } = await findImageFiles(
    { ...parts, found },
    image,
    image,
  );
  const meant = tag && (await catalog.findTag(target, tag))?.digest;
  // A copy that is kept after its tag moved is served by digest only.
  const isElsewhere = tag !== undefined && meant !== digest && kept !== 'moved';
  const isIncomplete = missing.length > 0 || isElsewhere || isForOthers;
  // What may not be pulled is of no use to the site.
  // Nobody is asked: what is told is what would be without the link.
  const refusal = isIncomplete
    ? undefined
    : await findRefusal(parts, { target, digest, files }, { reach: 'held' });
  const isPartial = isIncomplete || refusal !== undefined;
  const isStale = kept === undefined && (ageOf(checkedAt, timer) ?? 0) > freshMs;
  const reason = isIncomplete
    ? describeLack({ missing, isForOthers }, isElsewhere ? meant : undefined)
    : (refusal ?? describeAge(image, isStale));
  return {
    ...describeImage(image),
    platforms,
    state: isPartial ? 'partial' : isStale ? 'stale' : 'ready',
    bytes,
    missingBytes,
    missing: missing.slice(0, MAX_MISSING_TOLD),
    ...(isElsewhere && { lacksTag: true as const }),
    checkedAt,
    ...(reason !== undefined && { reason }),
  };
}

function describeLack(
  { missing, isForOthers }: Pick<ImageFiles, 'missing' | 'isForOthers'>,
  other: string | undefined,
): string {
  const { length: count } = missing;
  const platforms = missing.flatMap(({ platform = [] }) => platform);
  if (count > 0 && platforms.length === count) {
    return TEXTS.platformsMissing({ platforms: platforms.join(', ') });
  }
  if (count > 0) return count === 1 ? TEXTS.oneMissing : TEXTS.someMissing({ count });
  if (isForOthers) return TEXTS.noPlatform;
  return other === undefined ? TEXTS.tagNotRecorded : TEXTS.otherDigest({ digest: other });
}

function describeAge({ kept }: KnownImage, isStale: boolean): string | undefined {
  if (kept === 'deleted') return TEXTS.keptDeleted;
  if (kept === 'moved') return TEXTS.keptMoved;
  return isStale ? TEXTS.tooOld : undefined;
}
