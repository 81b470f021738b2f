import { Readable } from 'node:stream';
import type {
  BlobRange,
  BundleDraft,
  BundledFile,
  DraftReport,
  DraftState,
} from '../../src/api/bundle-api.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { formatImageName } from '../../src/oci/reference.ts';
import { errorMessage } from '../resolver.ts';
import type { BundleNumbers } from './bundle-numbers.ts';
import { findContent, type DraftContent } from './draft-content.ts';
import { DraftImages, type DraftImagesParts } from './draft-images.ts';
import type { Inventory } from './inventory.ts';
import type { Selection } from './selection.ts';
import { SiteHoldings } from './site-holdings.ts';
import { TEXTS } from './texts.ts';

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
  readonly #ended: Promise<void>;
  #report: DraftReport | undefined;
  #usedAt: number;

  constructor(parts: DraftParts, wish: DraftWish) {
    this.#parts = parts;
    this.#wish = wish;
    this.#usedAt = parts.timer.steady();
    const { signal } = this.#abort;
    const keep = (digest: Digest): void => this.#keep(digest);
    this.#images = new DraftImages({ ...parts, signal, keep }, wish.selection);
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
  async openBlob(digest: string, { start, end }: BlobRange): Promise<Readable | undefined> {
    const { catalog, blobs, timer, log } = this.#parts;
    const size = this.#sizes.get(digest);
    if (size === undefined || end > size) return undefined;
    const known = digest as Digest;
    const record = await catalog.findBlob(known);
    const blob = await blobs.find(known, record ?? { size }, {
      verified: async (changedAt) =>
        catalog.updateBlob(known, { changedAt, verifiedAt: timer.wall() }),
      damaged: async () => {
        log.warn({ digest }, 'a held blob is missing, damaged or unreadable');
        await catalog.forgetBlob(known);
      },
    });
    const reader = await blob?.open({ start, end });
    if (!reader) return undefined;
    const use = (): unknown => this.use();
    return Readable.from(
      (async function* read() {
        try {
          for (;;) {
            use();
            const bytes = await reader.read(Buffer.allocUnsafe(CHUNK_BYTES));
            if (bytes.length === 0) return;
            yield bytes;
          }
        } finally {
          await reader.close();
        }
      })(),
      { objectMode: false, highWaterMark: CHUNK_BYTES },
    );
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
    }));
    this.#report = { startedAt, endedAt: timer.wall(), ...made };
    if (!this.#report.draft) this.#release();
  }

  async #make(): Promise<Omit<DraftReport, 'startedAt' | 'endedAt'>> {
    const { catalog } = this.#parts;
    const { inventory } = this.#wish;
    const { images, problems, unasked } = await this.#images.bring();
    if (problems.length > 0) return { problems, unasked };
    const holdings = inventory && new SiteHoldings(inventory, catalog);
    const { there, ...content } = await findContent(this.#parts, images, holdings);
    this.#abort.signal.throwIfAborted();
    for (const { digest, size } of content.blobs) this.#sizes.set(digest, size);
    this.#release(this.#sizes);
    return { draft: await this.#number(content), there, problems, unasked };
  }

  async #number({ tags, ...content }: Omit<DraftContent, 'there'>): Promise<BundleDraft> {
    const { id: series, numbers } = this.#parts;
    const { inventory, files, selection, isPlain = false } = this.#wish;
    if (series === undefined) throw new Error(TEXTS.noSeries);
    const unnumbered = {
      series,
      ...(inventory && { site: inventory.site }),
      ...content,
      released: selection.isWhole && inventory ? await this.#released(inventory, tags) : [],
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
