import { Readable } from 'node:stream';
import type {
  BlobRange,
  BundleDraft,
  BundledFile,
  DraftReport,
  DraftState,
  WithheldImage,
} from '../../src/api/bundle-api.ts';
import type { Content } from '../../src/oci/content.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { formatImageName } from '../../src/oci/reference.ts';
import { errorMessage } from '../resolver.ts';
import type { BundleNumbers } from './bundle-numbers.ts';
import { findContent, type DraftContent } from './draft-content.ts';
import { DraftImages, type DraftImagesParts } from './draft-images.ts';
import { findRecipes } from './draft-recipes.ts';
import { findHeldBlob, type HeldBlobParts } from './held-blob.ts';
import type { Inventory } from './inventory.ts';
import type { Selection } from './selection.ts';
import type { Recipe } from './recipe.ts';
import { SiteHoldings } from './site-holdings.ts';
import { TEXTS } from './texts.ts';
import { collected } from './young-buffers.ts';

export interface DraftParts extends Omit<DraftImagesParts, 'signal' | 'keep'> {
  /** Of the store. */
  readonly id: string | undefined;
  readonly numbers: BundleNumbers;
}

/** What a draft is made from. */
export interface DraftWish {
  readonly selection: Selection;
  readonly inventory?: Inventory | undefined;
  readonly files: readonly BundledFile[];
  /** No bundle is made of it. */
  readonly isPlain?: boolean | undefined;
}

const CHUNK_BYTES = 256 * 1024;

/** One draft, from its wish to its end. What it has is leased: it is not evicted. */
export class Draft {
  readonly #parts: DraftParts;
  readonly #wish: DraftWish;
  readonly #abort = new AbortController();
  readonly #images: DraftImages;
  readonly #leases = new Map<Digest, Disposable>();
  readonly #sizes = new Map<string, number>();
  #recipes: ReadonlyMap<string, Recipe> = new Map();
  readonly #ended: Promise<void>;
  #report: DraftReport | undefined;
  #usedAt: number;

  constructor(parts: DraftParts, wish: DraftWish) {
    this.#parts = parts;
    this.#wish = wish;
    this.#usedAt = parts.timer.steady();
    const { signal } = this.#abort;
    const keep = (digest: Digest): void => this.#keep(digest);
    const { isPlain = false, selection } = wish;
    const isJudged = isPlain ? () => false : parts.isJudged;
    this.#images = new DraftImages({ ...parts, isJudged, signal, keep }, selection);
    this.#ended = this.#run();
  }

  get state(): Omit<DraftState, 'id'> {
    return this.#report ? { last: this.#report } : { running: this.#images.progress };
  }

  /** Somebody asks for it. */
  use(): this {
    this.#usedAt = this.#parts.timer.steady();
    return this;
  }

  /** Resolves once nobody has asked for so long, or when it is closed. */
  async unusedFor(ms: number): Promise<void> {
    const { timer } = this.#parts;
    const { signal } = this.#abort;
    for (let left = ms; left > 0 && !signal.aborted; left = this.#usedAt + ms - timer.steady()) {
      await timer.wait(left, signal).catch(() => undefined);
    }
  }

  /** `undefined` for what is not to be carried, or held no more. What is damaged goes into quarantine. */
  async openBlob(digest: string, range: BlobRange): Promise<Readable | undefined> {
    const recipe = this.#recipes.get(digest);
    const size = recipe?.size ?? this.#sizes.get(digest);
    if (size === undefined || range.end > size) return undefined;
    const blob = recipe ? undefined : await findHeldBlob(this.#heldParts, digest as Digest);
    const bytes = recipe?.read(range) ?? (blob && chunksOf(blob, range));
    return (
      bytes && Readable.from(this.#used(bytes), { objectMode: false, highWaterMark: CHUNK_BYTES })
    );
  }

  async *#used(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
    for await (const chunk of collected(chunks)) {
      this.use();
      yield chunk;
    }
  }

  /** Resolves when nothing of it is under way any more. */
  async close(): Promise<void> {
    this.#abort.abort(new Error(TEXTS.draftEnded));
    await this.#ended;
    this.#release();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { timer } = this.#parts;
    const startedAt = timer.wall();
    const made = await this.#make().catch((error: unknown) => ({
      problems: [{ image: '', reason: errorMessage(error) }],
      unasked: [],
      refused: [],
    }));
    this.#report = { startedAt, endedAt: timer.wall(), ...made };
    if (!this.#report.draft) this.#release();
  }

  async #make(): Promise<Omit<DraftReport, 'startedAt' | 'endedAt'>> {
    const { catalog } = this.#parts;
    const { inventory, selection } = this.#wish;
    const { images, problems, unasked } = await this.#images.bring();
    if (problems.length > 0) return { problems, unasked, refused: [] };
    const holdings = inventory && new SiteHoldings(inventory, catalog);
    const { there, refused, ...whole } = await findContent(this.#parts, images, holdings);
    this.#abort.signal.throwIfAborted();
    // Who names an image gets it, or nothing.
    if (!selection.isWhole && refused.length > 0)
      return { problems: refused, unasked, refused: [] };
    for (const { digest, size } of whole.blobs) this.#sizes.set(digest, size);
    this.#release(this.#sizes);
    const content = await this.#findRecipes(whole, holdings);
    return { draft: await this.#number(content, refused), there, problems, unasked, refused };
  }

  get #heldParts(): HeldBlobParts {
    const { catalog, blobs, log, timer } = this.#parts;
    return { catalog, blobs, log, now: () => timer.wall() };
  }

  /** What they make stays leased: they read it. */
  async #findRecipes<Found extends Omit<DraftContent, 'there' | 'refused'>>(
    whole: Found,
    holdings: SiteHoldings | undefined,
  ): Promise<Found> {
    const { inventory } = this.#wish;
    if (!holdings || !inventory) return whole;
    const { signal } = this.#abort;
    const parts = { ...this.#heldParts, signal, holdings, siteImages: inventory.images };
    const { content, recipes } = await findRecipes(parts, whole);
    this.#recipes = recipes;
    return content;
  }

  async #number(
    { tags, ...content }: Omit<DraftContent, 'there' | 'refused'>,
    refused: readonly WithheldImage[],
  ): Promise<BundleDraft> {
    const { id: series, numbers } = this.#parts;
    const { inventory, files, selection, isPlain = false } = this.#wish;
    if (series === undefined) throw new Error(TEXTS.noSeries);
    // The site keeps what a tag meant before an image that is refused.
    const selected = [...tags, ...refused.map(({ image }) => image)];
    const unnumbered = {
      series,
      ...(inventory && { site: inventory.site }),
      ...content,
      released: selection.isWhole && inventory ? await this.#released(inventory, selected) : [],
      files: files.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    };
    const above = inventory?.applied.get(series) ?? 0;
    // What carries nothing is not written, and takes no number.
    const isEmpty = content.images.length + files.length === 0;
    if (isPlain || isEmpty) return { ...unnumbered, number: above };
    const digest = digestOf(Buffer.from(JSON.stringify(unnumbered)));
    return { ...unnumbered, number: await numbers.take(digest, { above, brought: tags }) };
  }

  /** What the site has by a tag that the series has brought and that is not selected any more. */
  async #released({ images }: Inventory, selected: readonly string[]): Promise<string[]> {
    const tagged = images.flatMap(({ name, tag }) =>
      tag === undefined ? [] : [formatImageName({ name, tag })],
    );
    const gone = new Set(tagged).difference(new Set(selected));
    return this.#parts.numbers.broughtOf([...gone].toSorted());
  }

  #keep(digest: Digest): void {
    if (this.#abort.signal.aborted || this.#leases.has(digest)) return;
    this.#leases.set(digest, this.#parts.blobs.lease(digest));
  }

  /** All but these may be evicted again. */
  #release(kept: { has(digest: string): boolean } = new Set()): void {
    for (const [digest, lease] of this.#leases) {
      if (kept.has(digest)) continue;
      lease[Symbol.dispose]();
      this.#leases.delete(digest);
    }
  }
}

async function* chunksOf(blob: Content, range: BlobRange): AsyncGenerator<Buffer, void> {
  const reader = await blob.open(range);
  try {
    for (;;) {
      const bytes = await reader.read(Buffer.allocUnsafe(CHUNK_BYTES));
      if (bytes.length === 0) return;
      yield bytes;
    }
  } finally {
    await reader.close();
  }
}
