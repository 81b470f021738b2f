import { isGlob } from '../src/config/glob.ts';
import type { ResolvedImage } from '../src/mirror/addressing.ts';
import { isDigest } from '../src/oci/digest.ts';
import { badRequest, RegistryError } from '../src/oci/errors.ts';
import { DEFAULT_TAG, itemKey } from '../src/oci/reference.ts';
import { TEXTS } from './texts.ts';

/**
 * Images that somebody named, each once; without a tag and a digest it is `latest`. Throws a
 * `RegistryError` that tells all that is wrong with them together.
 */
export function readNamedImages(
  images: readonly string[],
  resolve: (image: string) => ResolvedImage,
): ResolvedImage[] {
  const named = new Map<string, ResolvedImage>();
  const problems: RegistryError[] = [];
  for (const image of images) {
    try {
      const each = readOne(image, resolve);
      named.set(itemKey(each.target, each.digest ?? each.tag ?? DEFAULT_TAG), each);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      problems.push(error);
    }
  }
  const [first, ...more] = problems;
  if (!first) return [...named.values()];
  if (more.length === 0) throw first;
  const message = [...new Set(problems.map((problem) => problem.message))].join('; ');
  throw new RegistryError(first.code, { status: first.status, message, cause: first });
}

function readOne(image: string, resolve: (image: string) => ResolvedImage): ResolvedImage {
  if (isGlob(image) || isDigest(image)) {
    const message = TEXTS.notOneImage({ image: JSON.stringify(image.slice(0, 255)) });
    throw badRequest(message);
  }
  const { target, tag, digest } = resolve(image);
  return { target, ...(digest ? { digest } : { tag: tag ?? DEFAULT_TAG }) };
}
