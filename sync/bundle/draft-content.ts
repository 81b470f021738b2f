import type { BundledBlob, BundledImage, WithheldImage } from '../../src/api/bundle-api.ts';
import { cosignTags } from '../../src/oci/cosign.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { formatImageName, formatTarget, type Tag, type Target } from '../../src/oci/reference.ts';
import { findImageFiles, type ImagePart } from '../image-files.ts';
import { adviseOn } from './advice.ts';
import { findRefusal, findRefusedAttestations } from '../image-refusal.ts';
import type { SyncParts } from '../parts.ts';
import type { KnownImage } from '../state.ts';
import { imageName } from '../wanted-image.ts';
import { compareImages } from './bundle-manifest.ts';
import type { SiteHoldings } from './site-holdings.ts';
import { TEXTS } from './texts.ts';

export type ContentImage = Pick<
  KnownImage,
  'target' | 'tag' | 'digest' | 'platforms' | 'referrers'
>;

/** What a bundle is made of, as far as images are. */
export interface DraftContent {
  readonly images: readonly BundledImage[];
  readonly blobs: readonly BundledBlob[];
  readonly needs: readonly BundledBlob[];
  /** All tags that were selected and what is attached to their images, as `name:tag`. */
  readonly tags: readonly string[];
  /** Of what was selected, what the site has. */
  readonly there: { readonly images: number; readonly blobs: number; readonly bytes: number };
  /** What may not leave. */
  readonly refused: readonly WithheldImage[];
}

type Parts = Pick<SyncParts, 'catalog' | 'blobs' | 'refusal' | 'isJudged' | 'verdicts'>;

/**
 * What is to be carried of images that are held whole, and what of them the site has already. An image
 * that it has whole, under this tag, is left out. The same images and the same holdings make the same
 * content, in the same order. What admission refuses is not carried, nor what is attached to an image and is
 * refused itself. Throws where a file of an image is not held any more.
 */
export async function findContent(
  parts: Parts,
  wanted: readonly ContentImage[],
  holdings: SiteHoldings | undefined,
): Promise<DraftContent> {
  const content = new Content(parts, holdings);
  for (const image of wanted) await content.add(image);
  return content.done();
}

type Part = ImagePart & { readonly files: ReadonlySet<Digest> };

class Content {
  readonly #parts: Parts;
  readonly #holdings: SiteHoldings | undefined;
  readonly #images = new Map<string, BundledImage>();
  readonly #tags = new Set<string>();
  readonly #left = new Set<string>();
  readonly #refused: WithheldImage[] = [];
  /** Of all that was looked at. */
  readonly #sizes = new Map<Digest, number>();
  readonly #carried = new Set<Digest>();
  readonly #needed = new Set<Digest>();
  readonly #there = new Set<Digest>();

  constructor(parts: Parts, holdings: SiteHoldings | undefined) {
    this.#parts = parts;
    this.#holdings = holdings;
  }

  async add(wanted: ContentImage): Promise<void> {
    const parts = new Map<string, ImagePart & { readonly files: Set<Digest> }>();
    const found = (file: Digest, of: ImagePart): void => {
      const key = `${of.digest} ${of.subject ?? ''}`;
      const part = parts.get(key) ?? { ...of, files: new Set() };
      part.files.add(file);
      parts.set(key, part);
    };
    const { missing } = await findImageFiles({ ...this.#parts, found }, wanted, wanted);
    const [first] = missing;
    if (first) throw new Error(TEXTS.gone({ digest: first.digest }));
    const { target } = wanted;
    const carried: Part[] = [];
    for (const part of parts.values()) {
      const reason = await findRefusal(this.#parts, { target, ...part });
      if (reason === undefined) carried.push(await this.#withoutRefused(target, part));
      else if (part.subject === undefined) {
        this.#refused.push({ image: imageName(wanted), reason });
        return;
      }
    }
    const sizeOf = (all: Iterable<Part>): number =>
      [...all].reduce((sum, { files }) => sum + files.size, 0);
    const isWhole = sizeOf(carried) === sizeOf(parts.values());
    for (const part of carried) {
      const tags = part.subject ? await this.#cosignTags(wanted, part) : [wanted.tag];
      for (const tag of tags) await this.#addPart({ ...wanted, isWhole }, tag, part);
    }
  }

  done(): DraftContent {
    const sorted = (digests: ReadonlySet<Digest>): BundledBlob[] =>
      [...digests].toSorted().map((digest) => ({ digest, size: this.#sizes.get(digest) ?? 0 }));
    const there = sorted(this.#there);
    return {
      images: [...this.#images.values()].toSorted(compareImages),
      blobs: sorted(this.#carried),
      needs: sorted(this.#needed),
      tags: [...this.#tags].toSorted(),
      refused: this.#refused,
      there: {
        images: this.#left.size,
        blobs: there.length,
        bytes: there.reduce((sum, { size }) => sum + size, 0),
      },
    };
  }

  async #withoutRefused(target: Target, part: Part): Promise<Part> {
    const refused = await findRefusedAttestations(this.#parts, { target, files: part.files });
    return refused.size === 0 ? part : { ...part, files: part.files.difference(refused) };
  }

  /** Those that say what it is attached to; the referrers API of registries needs none. */
  async #cosignTags(
    { target }: ContentImage,
    { digest, subject }: ImagePart,
  ): Promise<(Tag | undefined)[]> {
    const tags = new Set(subject && cosignTags(subject));
    const own = await this.#parts.catalog.tagsOf({ target, digest });
    const attaching = own.filter((tag) => tags.has(tag));
    return attaching.length > 0 ? attaching : [undefined];
  }

  async #addPart(
    wanted: ContentImage & { readonly isWhole: boolean },
    tag: Tag | undefined,
    part: Part,
  ): Promise<void> {
    const { target } = wanted;
    const { digest, subject, files } = part;
    const name = formatTarget(target);
    const manifest = await this.#parts.catalog.findManifest(target, digest);
    if (!manifest) throw new Error(TEXTS.gone({ digest }));
    const tagged = { name, digest, ...(tag !== undefined && { tag }) };
    if (tag !== undefined) this.#tags.add(formatImageName({ name, tag }));
    const there = new Set<Digest>();
    for (const file of files) if (await this.#look(file)) there.add(file);
    const isThere = there.size === files.size && this.#holdings?.serves(tagged) === true;
    const key = formatImageName(tagged);
    if (isThere) {
      if (subject === undefined) this.#left.add(key);
      return;
    }
    const { mediaType, size } = manifest;
    // Of an image that is wanted twice, as with other platforms, all has to be.
    const judged = subject === undefined && this.#parts.isJudged(target);
    const advice = judged ? adviseOn(await this.#parts.verdicts(target, digest)) : undefined;
    const isSearched =
      (this.#images.get(key) ?? { isSearched: true }).isSearched === true &&
      wanted.isWhole &&
      (await this.#isSearched(wanted, files));
    this.#images.set(key, {
      ...tagged,
      mediaType,
      size,
      ...(subject && { subject }),
      ...(isSearched && { isSearched }),
      ...(advice && { advice }),
    });
    for (const file of files) (there.has(file) ? this.#needed : this.#carried).add(file);
    // What it is attached to may be an image that is left out.
    if (subject && (await this.#look(subject))) this.#needed.add(subject);
  }

  /** Whether all that is attached to its manifests is known, and comes along. */
  async #isSearched({ target, referrers }: ContentImage, files: Part['files']): Promise<boolean> {
    const { catalog } = this.#parts;
    if (!referrers) return false;
    for (const digest of await catalog.heldOf(target, [...files])) {
      if (!(await catalog.wasSearched({ target, digest }))) return false;
    }
    return true;
  }

  /** Whether the site has it. */
  async #look(digest: Digest): Promise<boolean> {
    if (!this.#sizes.has(digest)) {
      const record = await this.#parts.catalog.findBlob(digest);
      if (!record) throw new Error(TEXTS.gone({ digest }));
      this.#sizes.set(digest, record.size);
      if (await this.#holdings?.has(digest)) this.#there.add(digest);
    }
    return this.#there.has(digest);
  }
}
