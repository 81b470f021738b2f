import type { Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

/** An image of a layout, under the names that it has there. */
export interface LayoutImage {
  /** Of its manifest; of its config where there is no manifest. */
  readonly digest: Digest;
  readonly names: readonly string[];
}

const MAX_TOLD = 20;

/**
 * The image that is meant: by a name or a digest, or the only one. Throws a `BundleError` that lists those
 * there are.
 */
export function chooseImage<Image extends LayoutImage>(
  images: readonly Image[],
  ref: string | undefined,
): Image {
  const meant = images.filter(
    ({ digest, names }) => ref === undefined || digest === ref || names.includes(ref),
  );
  const [first] = meant;
  if (first && meant.every(({ digest }) => digest === first.digest)) return first;
  const named = first ? meant : images;
  const names = new Set(named.map((image) => nameOf(image, ref)));
  const told = [...names].slice(0, MAX_TOLD).join(', ');
  const list = names.size > MAX_TOLD ? `${told}, …` : told;
  if (images.length === 0) throw new BundleError('format', TEXTS.layoutEmpty);
  throw new BundleError(
    'format',
    first
      ? TEXTS.layoutSeveral({ names: list })
      : TEXTS.layoutNoSuch({ ref: JSON.stringify(ref?.slice(0, 255)), names: list }),
  );
}

/** By what it can be told from the others. */
function nameOf({ digest, names }: LayoutImage, ref: string | undefined): string {
  const name = names.find((each) => each !== ref);
  return name === undefined ? digest : name.slice(0, 255);
}
