import type { Digest } from '../../src/oci/digest.ts';
import { formatTarget, isSameTarget } from '../../src/oci/reference.ts';
import type { Inventory, SiteImage } from './inventory.ts';
import type { MemberMask } from './member-mask.ts';
import { RepositorySurvey, type SurveyParts } from './repository-survey.ts';

/** Looked at side by side. */
const BATCH = 64;
/** Of one repository; beyond it they are forgotten and found anew. */
const MAX_VERDICTS = 50_000;

interface Found {
  readonly image: SiteImage;
  /** What its repository serves of it. */
  readonly mask: MemberMask;
}

/**
 * Goes through all that a store holds. It reads records and looks at files, and opens none. What it keeps
 * in mind grows with the manifests that it names, and not with their layers.
 */
export class Survey {
  readonly #parts: SurveyParts & { readonly signal: AbortSignal };
  readonly #masks = new Map<Digest, MemberMask>();
  readonly #found: Found[] = [];

  /** Rejects when the signal aborts. */
  static async of(
    parts: SurveyParts & { readonly signal: AbortSignal },
  ): Promise<Omit<Inventory, 'site' | 'applied'>> {
    const survey = new Survey(parts);
    await survey.#visitRepositories();
    return { ...survey.#holdings, blobs: await survey.#unlistedBlobs() };
  }

  private constructor(parts: SurveyParts & { readonly signal: AbortSignal }) {
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

  /** Their manifests come one after the other. */
  async #visitRepositories(): Promise<void> {
    let repository: RepositorySurvey | undefined;
    let batch: Digest[] = [];
    const visit = async (): Promise<void> => {
      this.#parts.signal.throwIfAborted();
      await Promise.all(batch.map(async (digest) => this.#visit(repository!, digest)));
      batch = [];
      if (repository!.size > MAX_VERDICTS) repository!.forget();
    };
    for await (const { target, digest } of this.#parts.catalog.manifests()) {
      const isNext = !repository || !isSameTarget(repository.target, target);
      if (repository && (isNext || batch.length === BATCH)) await visit();
      if (isNext) repository = new RepositorySurvey(target, this.#parts);
      batch.push(digest);
    }
    if (repository) await visit();
  }

  async #visit(repository: RepositorySurvey, digest: Digest): Promise<void> {
    const mask = await repository.look(digest);
    if (!mask) return;
    const { target } = repository;
    const tags = await this.#parts.catalog.tagsOf({ target, digest });
    if (tags.length === 0 && !(await repository.isNamed(digest, mask))) return;
    const known = this.#masks.get(digest);
    this.#masks.set(digest, known ? known.or(mask) : mask);
    const image = { name: formatTarget(target), digest };
    const images = tags.length === 0 ? [image] : tags.map((tag) => ({ ...image, tag }));
    this.#found.push(...images.map((each) => ({ image: each, mask })));
  }

  /** What a manifest lists it says itself, as far as it is served. */
  async #unlistedBlobs(): Promise<Set<Digest>> {
    const found = new Set<Digest>();
    let batch: Promise<void>[] = [];
    for await (const [digest, { size }] of this.#parts.catalog.listBlobs()) {
      batch.push(
        this.#isUnlisted(digest, size).then((isUnlisted) => void (isUnlisted && found.add(digest))),
      );
      if (batch.length < BATCH) continue;
      this.#parts.signal.throwIfAborted();
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
    return found;
  }

  async #isUnlisted(digest: Digest, size: number): Promise<boolean> {
    for await (const _ of this.#parts.catalog.holders(digest)) return false;
    return (await this.#parts.blobs.statBlob(digest))?.size === size;
  }
}
