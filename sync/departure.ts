import { formatTarget } from '../src/oci/reference.ts';
import type { Resolution } from './resolver.ts';
import type { KnownImage } from './state.ts';
import { keyOf } from './wanted-image.ts';

/** An image that was wanted before and that the rules do not select now. */
export interface Departure {
  readonly image: KnownImage;
  readonly action: 'release' | 'keep' | 'guarded';
  readonly why: string;
}

/**
 * What becomes of images that left the selection. Nothing goes because a list failed or came back
 * empty, and no run lets go of more than its share of what was held: rather a full disk than an
 * empty site.
 */
export function findDepartures(
  known: readonly KnownImage[],
  resolution: Pick<Resolution, 'images' | 'absent' | 'unknown'>,
  releaseShare: number,
): Departure[] {
  const wanted = new Map(resolution.images.map((image) => [keyOf(image), image]));
  const digests = new Set(resolution.images.map(({ target, digest }) => keyOf({ target, digest })));
  const departures = known.flatMap((image): Departure[] => {
    const now = wanted.get(keyOf(image));
    // Wanted under another tag, or for itself, all the same.
    if (digests.has(keyOf({ target: image.target, digest: image.digest }))) return [];
    return [judge(image, now !== undefined, resolution)];
  });
  const leaving = departures.filter(({ action }) => action === 'release');
  if (leaving.length <= Math.max(1, Math.floor(known.length * releaseShare))) return departures;
  const share = `${leaving.length} of ${known.length} images would go, more than ${Math.round(releaseShare * 100)} % in one run`;
  return departures.map((departure) =>
    departure.action === 'release'
      ? { ...departure, action: 'guarded', why: `${departure.why}; ${share}` }
      : departure,
  );
}

function judge(
  image: KnownImage,
  isMoved: boolean,
  { absent, unknown }: Pick<Resolution, 'absent' | 'unknown'>,
): Departure {
  const name = `${formatTarget(image.target)} ${image.tag ?? image.digest}`;
  if (isMoved || image.kept === 'moved') {
    return byPolicy(image, 'its tag means another image now');
  }
  if (absent.has(name) || image.kept === 'deleted') {
    return byPolicy(image, 'the upstream has it no more');
  }
  if (unknown.has(image.rule)) {
    return { image, action: 'guarded', why: 'its rule could not be resolved' };
  }
  return { image, action: 'release', why: 'no rule selects it any more' };
}

function byPolicy(image: KnownImage, why: string): Departure {
  return image.removed === 'keep'
    ? { image, action: 'keep', why: `${why}; the rule says keep` }
    : { image, action: 'release', why };
}
