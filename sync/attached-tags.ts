import { formatTarget, type Tag, type Target } from '../src/oci/reference.ts';
import type { Source } from './parts.ts';

/** Tags that are asked for one by one before the list of their repository is. */
const FEW = 8;
/** A longer list costs more than it tells. */
const MAX_PAGES = 10;

interface Asking {
  /** One by one, since there was a list. */
  tags: number;
  listing: Promise<void> | undefined;
  /** Its list is refused, too long, a copy, or lacks what is there. */
  isUnlistable: boolean;
}

/**
 * Which of the tags that are named after a digest are worth a question: what is attached to an image has
 * such tags, and most images have none. Where the upstream lately listed all tags of a repository, as for a
 * rule that selects by pattern, those that are not listed do not exist. Where it did not, the first few are
 * asked for by name, and then the list is, which is one request for all images of the repository.
 */
export class AttachedTags {
  readonly #source: Pick<Source, 'isListed' | 'listTags'>;
  readonly #repositories = new Map<string, Asking>();

  constructor(source: Pick<Source, 'isListed' | 'listTags'>) {
    this.#source = source;
  }

  /** Those of the tags that may exist, in their order. `tag`: one that the upstream is known to have. */
  async possible(
    { target, tag }: { readonly target: Target; readonly tag?: Tag | undefined },
    tags: readonly Tag[],
  ): Promise<readonly Tag[]> {
    const repository = this.#of(target);
    const isListed = (each: Tag): boolean | undefined => this.#source.isListed(target, each);
    if (repository.isUnlistable) return tags;
    if (tags.some((each) => isListed(each) === undefined)) {
      if (repository.tags < FEW) {
        repository.tags += tags.length;
        return tags;
      }
      await (repository.listing ??= this.#list(target, repository));
      repository.isUnlistable = tags.some((each) => isListed(each) === undefined);
    }
    if (tag !== undefined && isListed(tag) === false) repository.isUnlistable = true;
    return repository.isUnlistable ? tags : tags.filter((each) => isListed(each) !== false);
  }

  async #list(target: Target, repository: Asking): Promise<void> {
    try {
      await this.#source.listTags(target, MAX_PAGES);
    } catch {
      // Then each tag is asked for, and what is wrong with the upstream is told there.
    }
    repository.tags = 0;
    repository.listing = undefined;
  }

  #of(target: Target): Asking {
    const key = formatTarget(target);
    const known = this.#repositories.get(key);
    if (known) return known;
    const asking = { tags: 0, listing: undefined, isUnlistable: false };
    this.#repositories.set(key, asking);
    return asking;
  }
}
