import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import { formatTarget } from '../src/oci/reference.ts';
import { matchesRepository, mayMatch } from './tag-selector.ts';
import type { Resolution } from './resolver.ts';
import type { KnownImage } from './state.ts';
import { describeImage, imageKey, imageVersionKey } from './wanted-image.ts';
import { TEXTS } from './texts.ts';
import type { ReleasedImage } from '../src/api/sync-api.ts';

/** An image that was wanted before and that the rules do not select now. */
export interface DeselectedImage {
  readonly image: KnownImage;
  readonly action: 'release' | 'keep' | 'guarded';
  readonly why: string;
  /** What the upstream did to it, where that is the reason. */
  readonly became?: 'deleted' | 'moved';
  /** Its upstream did not say whether it is still selected. */
  readonly isUnasked?: true;
}

type Decision = Omit<DeselectedImage, 'image'>;

interface Found extends Omit<Resolution, 'problems'> {
  /** The images are those of a lock. */
  readonly isLocked: boolean;
  /** Known images of which files were never fetched, by `imageVersionKey`. */
  readonly unfinished: ReadonlySet<string>;
}

/**
 * Decides what happens to images that the rules do not select any more. None is released because a
 * list failed or was empty, and a run releases at most its share of the known images, and always
 * may release one: a full disk does less harm than an empty site.
 */
export function findDeselected(
  known: readonly KnownImage[],
  resolution: Found,
  { rules, releaseShare }: { rules: readonly SyncRule[]; releaseShare: number },
): DeselectedImage[] {
  const wanted = new Set(resolution.images.map(imageKey));
  const digests = new Set(
    resolution.images.map(({ target, digest }) => imageKey({ target, digest })),
  );
  const deselected = known.flatMap((image): DeselectedImage[] => {
    const isMoved = wanted.has(imageKey(image));
    const decision = decide(image, { rules, isMoved, resolution });
    // The same digest is still wanted, by another tag or without one: only a tag may be kept beside.
    const isWanted = digests.has(imageKey({ target: image.target, digest: image.digest }));
    if (isWanted && (isMoved || image.tag === undefined || decision.action === 'release'))
      return [];
    return [{ image, ...decision }];
  });
  const leaving = deselected.filter(({ action }) => action === 'release');
  const limit = releaseShare === 0 ? 0 : Math.max(1, Math.floor(known.length * releaseShare));
  if (leaving.length <= limit) return deselected;
  const share = {
    leaving: leaving.length,
    known: known.length,
    percent: Math.round(releaseShare * 100),
  };
  return deselected.map((each) =>
    each.action === 'release'
      ? { ...each, action: 'guarded', why: TEXTS.guarded({ ...share, why: each.why }) }
      : each,
  );
}

function decide(
  image: KnownImage,
  found: {
    rules: readonly SyncRule[];
    isMoved: boolean;
    resolution: Found;
  },
): Decision {
  const { rules, isMoved, resolution } = found;
  const covering = rules.filter((rule) => mayMatch(rule, image));
  if (covering.length === 0) {
    // A typing error in a pattern costs no image.
    const isSlip = rules.some(
      (rule) => resolution.empty.has(rule.path) && matchesRepository(rule, image.target),
    );
    return isSlip
      ? { action: 'guarded', why: TEXTS.emptyRule }
      : { action: 'release', why: TEXTS.unselected };
  }
  if (isMoved && resolution.unfinished.has(imageVersionKey(image))) {
    return { action: 'release', why: TEXTS.movedUnfinished, became: 'moved' };
  }
  if (isMoved || image.kept === 'moved') return byPolicy('moved', covering);
  if (isGone(image, resolution)) return byPolicy('deleted', covering);
  if (covering.some(({ path }) => resolution.unasked.has(path))) {
    return { action: 'guarded', why: TEXTS.unasked, isUnasked: true };
  }
  if (covering.some(({ path }) => resolution.unknown.has(path))) {
    return { action: 'guarded', why: TEXTS.unresolvedRule };
  }
  if (resolution.isLocked) return { action: 'guarded', why: TEXTS.notInLock };
  return { action: 'release', why: TEXTS.newerOnes };
}

/** The upstream answered 404 for it, or its list has others and not this one. */
function isGone(
  image: KnownImage,
  { absent, listed }: Pick<Resolution, 'absent' | 'listed'>,
): boolean {
  const { target, tag } = image;
  if (absent.has(imageKey(image))) return true;
  if (listed.get(target.upstream)?.has(target.repository) === false) return true;
  return tag !== undefined && listed.get(formatTarget(target))?.has(tag) === false;
}

function byPolicy(became: 'moved' | 'deleted', covering: readonly SyncRule[]): Decision {
  const isKept = covering.some(({ removed }) => removed === 'keep');
  return isKept
    ? { action: 'keep', why: TEXTS.kept({ why: TEXTS[became] }), became }
    : { action: 'release', why: TEXTS[became], became };
}

/** What left the selection, as the API tells it. */
export function describeReleased({
  image,
  action,
  why,
  isUnasked,
}: DeselectedImage): ReleasedImage {
  return { ...describeImage(image), action, why, ...(isUnasked && { isUnasked }) };
}
