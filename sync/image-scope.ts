import type { SyncProblem } from '../src/api/sync-api.ts';
import { isGlob } from '../src/config/glob.ts';
import type { SyncRule } from '../src/config/sync-rule-schema.ts';
import { badRequest, type RegistryError } from '../src/oci/errors.ts';
import { formatTarget, parseImageName, splitTarget } from '../src/oci/reference.ts';
import { mayMatch } from './tag-selector.ts';
import { TEXTS } from './texts.ts';
import { imageDigestName, imageName, type WantedImage } from './wanted-image.ts';

export interface ScopeParts {
  readonly rules: readonly SyncRule[];
  /** The images of a lock, where one is replayed. */
  readonly locked?: readonly WantedImage[] | undefined;
  readonly canonical: (image: string) => string;
}

const NO_TAGS = { names: [], globs: [], regexes: [], exclude: [] };

/** The few images of the selection that a run is about. */
export class ImageScope {
  /** With their registry: `name:tag` or `name@digest`. */
  readonly names: readonly string[];
  readonly #names: ReadonlySet<string>;

  /**
   * Throws a `RegistryError` with status 400 that names what is no single image and what no rule, or
   * not the lock, selects.
   */
  static read(images: readonly string[], { rules, locked, canonical }: ScopeParts): ImageScope {
    if (images.length === 0) throw refuse(TEXTS.scopeEmpty);
    for (const image of images.filter(isGlob)) throw refuse(TEXTS.scopeGlob({ image }));
    const scope = new ImageScope([...new Set(images.map(canonical))]);
    const unselected = scope.names.filter((name) =>
      locked ? !locked.some((image) => isNamed(image, name)) : narrowTo(name, rules).length === 0,
    );
    if (unselected.length === 0) return scope;
    const told = unselected.join(', ');
    throw refuse(
      locked ? TEXTS.scopeNotLocked({ images: told }) : TEXTS.scopeUnselected({ images: told }),
    );
  }

  constructor(names: readonly string[]) {
    this.names = names;
    this.#names = new Set(names);
  }

  has(image: Pick<WantedImage, 'target' | 'tag' | 'digest'>): boolean {
    return this.#names.has(imageName(image)) || this.#names.has(imageDigestName(image));
  }

  /** A problem of one of them, and not only of a rule that selects them among others. */
  isAbout({ image }: Pick<SyncProblem, 'image'>): boolean {
    return this.#names.has(image);
  }

  /** Those of the names that are none of these images. */
  without(images: readonly Pick<WantedImage, 'target' | 'tag' | 'digest'>[]): string[] {
    return this.names.filter((name) => !images.some((image) => isNamed(image, name)));
  }

  /** What of the rules selects them. */
  narrow(rules: readonly SyncRule[]): SyncRule[] {
    return this.names.flatMap((name) => narrowTo(name, rules));
  }
}

function isNamed(image: Pick<WantedImage, 'target' | 'tag' | 'digest'>, name: string): boolean {
  return imageName(image) === name || imageDigestName(image) === name;
}

/** Where `newest` decides, all tags have to be known. */
function narrowTo(name: string, rules: readonly SyncRule[]): SyncRule[] {
  const { name: repository, tag, digest } = parseImageName(name);
  const target = splitTarget(repository);
  return rules
    .filter((rule) => mayMatch(rule, { target, ...(digest ? { digest } : tag && { tag }) }))
    .map((rule) => {
      const own = { ...rule, image: formatTarget(target) };
      if (digest) return { ...own, tags: NO_TAGS, digests: [digest] };
      const isOpen = rule.tags.newest !== undefined;
      return { ...own, tags: isOpen ? rule.tags : { ...NO_TAGS, names: [tag!] }, digests: [] };
    });
}

function refuse(message: string): RegistryError {
  // Which tells it from what is wrong with a lock.
  return badRequest(message, { detail: { about: 'images' } });
}
