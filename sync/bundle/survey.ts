import type { Digest } from '../../src/oci/digest.ts';
import { formatTarget, splitTarget, type Tag } from '../../src/oci/reference.ts';
import type { Inventory, SiteImage } from './inventory.ts';
import type { MemberMask } from './member-mask.ts';
import { RepositorySurvey, type SurveyParts } from './repository-survey.ts';
import { TagsInOrder } from './tags-in-order.ts';

interface Found {
  readonly image: SiteImage;
  /** What its repository serves of it. */
  readonly mask: MemberMask;
}

/**
 * Goes through all that a store holds. It reads records, and looks at files without opening any. What it
 * keeps in mind are the manifests and tags that it tells, and more only of one repository at a time.
 */
export class Survey {
  readonly #parts: SurveyParts;
  readonly #masks = new Map<Digest, MemberMask>();
  readonly #found: Found[] = [];

  /** Rejects when the signal aborts. */
  static async of(parts: SurveyParts): Promise<Omit<Inventory, 'site' | 'applied'>> {
    const survey = new Survey(parts);
    await survey.#visitRepositories();
    return { ...survey.#holdings, blobs: await survey.#unlistedBlobs() };
  }

  private constructor(parts: SurveyParts) {
    this.#parts = parts;
  }

  get #holdings(): Pick<Inventory, 'complete' | 'partial' | 'images'> {
    const masks = [...this.#masks];
    return {
      complete: new Set(masks.filter(([, mask]) => mask.isWhole).map(([digest]) => digest)),
      partial: new Map(masks.filter(([, mask]) => !mask.isWhole)),
      // A repository that serves less of a manifest than another one has it sent again.
      images: this.#found
        .filter(({ image, mask }) => mask.isSameAs(this.#masks.get(image.digest)!))
        .map(({ image }) => image),
    };
  }

  /** The manifests of each come one after the other, and its tags in the same order of repositories. */
  async #visitRepositories(): Promise<void> {
    await using tags = new TagsInOrder(this.#parts.catalog);
    let name = '';
    let held = new Set<Digest>();
    const visit = async (): Promise<void> => {
      if (held.size > 0) await this.#visit(name, held, await tags.of(name));
    };
    for await (const { target, digest } of this.#parts.catalog.manifests()) {
      const next = formatTarget(target);
      if (next !== name) {
        await visit();
        name = next;
        held = new Set();
      }
      held.add(digest);
    }
    await visit();
  }

  async #visit(
    name: string,
    held: ReadonlySet<Digest>,
    tagged: ReadonlyMap<Digest, readonly Tag[]>,
  ): Promise<void> {
    const repository = new RepositorySurvey(splitTarget(name), held, this.#parts);
    for (const [digest, mask] of await repository.run(tagged)) {
      const known = this.#masks.get(digest);
      this.#masks.set(digest, known ? known.or(mask) : mask);
      const image = { name, digest };
      const tags = tagged.get(digest);
      const images = tags ? tags.map((tag) => ({ ...image, tag })) : [image];
      this.#found.push(...images.map((each) => ({ image: each, mask })));
    }
  }

  /** Of what a manifest lists, that one tells. */
  async #unlistedBlobs(): Promise<Set<Digest>> {
    const { catalog, blobs, signal } = this.#parts;
    const found = new Set<Digest>();
    for await (const [digest, { size }] of catalog.unlistedBlobs()) {
      signal.throwIfAborted();
      if ((await blobs.statBlob(digest))?.size === size) found.add(digest);
    }
    return found;
  }
}
