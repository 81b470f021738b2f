import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../src/observe/log.ts';
import { isDigest, type Digest } from '../../src/oci/digest.ts';
import { parseImageName, splitTarget } from '../../src/oci/reference.ts';
import { readOwn, writeOwn } from '../../src/store/own-file.ts';
import type { KnownImage } from '../state.ts';
import { imageDigestName, type WantedParts } from '../wanted-image.ts';
import { MANIFEST_LIMITS } from './parse-manifest.ts';
import { TEXTS } from './texts.ts';

/** An image that a bundle brought and that the site keeps. */
export interface BroughtImage extends WantedParts {
  readonly digest: Digest;
  readonly series: string;
  readonly broughtAt: number;
}

/** The last bundle of a series and key that is in force. */
export interface AppliedBundle {
  readonly series: string;
  /** The id of the key that signed it. */
  readonly key: string;
  readonly number: number;
  readonly id: Digest;
  readonly appliedAt: number;
}

/** An image that a bundle brought and that was refused then. */
export interface RefusedArrival {
  readonly digest: Digest;
  readonly series: string;
  readonly number: number;
  readonly broughtAt: number;
}

/** A bundle of which parts are awaited. */
export interface OpenBundle {
  readonly id: Digest;
  readonly series: string;
  readonly number: number;
  readonly images: number;
  readonly parts: number;
  /** In ascending order. */
  readonly received: readonly number[];
}

interface Document {
  readonly version: 1;
  readonly applied: readonly AppliedBundle[];
  /** By `name:tag`, or `name@digest` without a tag. */
  readonly images: Readonly<Record<string, BroughtImage>>;
  /** By the same names, none of which is among the images with this digest; the last one is the last. */
  readonly refused: Readonly<Record<string, RefusedArrival>>;
  /** The one that was begun last is the last. */
  readonly open: readonly OpenBundle[];
}

const EMPTY: Document = { version: 1, applied: [], images: {}, refused: {}, open: [] };
/** A million images of 300 bytes, as many as one bundle may have, and more than half as many of others. */
const MAX_BYTES = 480 * 2 ** 20;
/** Of series and keys; the one that was applied longest ago is forgotten. */
const MAX_APPLIED = 1_000;
/** Of bundles of which parts are awaited; the one that was begun longest ago is forgotten. */
const MAX_OPEN = 16;

/** Of what was refused; what came longest ago is forgotten. */
const MAX_REFUSED = 1_000;

/**
 * What a site remembers of bundles, in one file of the store: which are in force, which images they
 * brought, which of them were refused, and which parts of others are here. Without the file every bundle is
 * taken for the first of its series, and parts are awaited anew.
 */
export class SiteState {
  readonly #path: string;
  #document: Document;
  #written: Promise<void> = Promise.resolve();

  /** Of a damaged file nothing counts, and it is put beside for whoever can mend it. */
  static async open(storePath: string, log: Pick<Log, 'error'>): Promise<SiteState> {
    const path = join(storePath, 'bundles.json');
    const text = await readOwn(path, MAX_BYTES);
    const document = text === undefined ? EMPTY : parse(text);
    if (document) return new SiteState(path, document);
    const aside = `${path}.damaged`;
    await rename(path, aside).catch(() => undefined);
    log.error({ path: aside }, TEXTS.stateDamaged);
    return new SiteState(path, EMPTY);
  }

  private constructor(path: string, document: Document) {
    this.#path = path;
    this.#document = document;
  }

  get current(): Document {
    return this.#document;
  }

  /** The highest number of each series that is in force, whoever signed it. */
  get numbers(): ReadonlyMap<string, number> {
    const numbers = new Map<string, number>();
    for (const { series, number } of this.#document.applied) {
      numbers.set(series, Math.max(number, numbers.get(series) ?? 0));
    }
    return numbers;
  }

  /** What bundles brought and the site keeps: as if a rule had selected it, and never too old. */
  get images(): readonly KnownImage[] {
    return Object.entries(this.#document.images).map(([image, brought]) => {
      const { name, tag } = parseImageName(image);
      const { digest, series, platforms, referrers, broughtAt } = brought;
      return {
        target: splitTarget(name),
        ...(tag !== undefined && { tag }),
        digest,
        platforms,
        referrers,
        rule: `bundle ${series}`,
        priority: 0,
        freshMs: Infinity,
        removed: 'keep',
        checkedAt: broughtAt,
      };
    });
  }

  /** The same, as `name@digest`. */
  get imageNames(): ReadonlySet<string> {
    return new Set(this.images.map(imageDigestName));
  }

  lastOf({ series, key }: Pick<AppliedBundle, 'series' | 'key'>): AppliedBundle | undefined {
    return this.#document.applied.find((each) => each.series === series && each.key === key);
  }

  findOpen(id: Digest): OpenBundle | undefined {
    return this.#document.open.find((each) => each.id === id);
  }

  /** In the place of what was known of it. Resolves with what was forgotten to make room for it. */
  async record(bundle: OpenBundle): Promise<readonly OpenBundle[]> {
    const { open } = this.#document;
    const place = open.findIndex(({ id }) => id === bundle.id);
    if (place !== -1) {
      await this.#update({ open: open.with(place, bundle) });
      return [];
    }
    const all = [...open, bundle];
    await this.#update({ open: all.slice(-MAX_OPEN) });
    return all.slice(0, -MAX_OPEN);
  }

  /**
   * The images are to be kept from now on, in the place of what these names and the released ones meant. Of those
   * that were refused it is remembered that they came.
   */
  async keep(
    images: ReadonlyMap<string, BroughtImage>,
    released: readonly string[],
    refused: ReadonlyMap<string, RefusedArrival>,
  ): Promise<void> {
    const kept = { ...this.#document.images };
    for (const name of released) delete kept[name];
    const left = { ...this.#document.refused };
    for (const name of [...released, ...images.keys(), ...refused.keys()]) delete left[name];
    const known = [...Object.entries(left), ...refused].slice(-MAX_REFUSED);
    await this.#update({
      images: { ...kept, ...Object.fromEntries(images) },
      refused: Object.fromEntries(known),
    });
  }

  /**
   * It is in force, and no part of it or of an older one of its series is awaited any more. Resolves with
   * those of which parts were.
   */
  async conclude(bundle: AppliedBundle): Promise<readonly OpenBundle[]> {
    const { applied, open } = this.#document;
    const { series, key, id, number } = bundle;
    const others = applied.filter((each) => each.series !== series || each.key !== key);
    const over = open.filter(
      (each) => each.id === id || (each.series === series && each.number < number),
    );
    await this.#update({
      applied: [...others, bundle].slice(-MAX_APPLIED),
      open: open.filter((each) => !over.includes(each)),
    });
    return over;
  }

  async #update(change: Partial<Document>): Promise<void> {
    this.#document = { ...this.#document, ...change };
    const written = this.#written.then(async () =>
      writeOwn(this.#path, JSON.stringify(this.#document)),
    );
    this.#written = written.catch(() => undefined);
    await written;
  }
}

function parse(text: string): Document | undefined {
  try {
    const document = { ...EMPTY, ...(JSON.parse(text) as object) } as Document;
    const digests = [
      ...document.applied.map(({ id }) => id),
      ...document.open.map(({ id }) => id),
      ...Object.values(document.images).map(({ digest }) => digest),
      ...Object.values(document.refused).map(({ digest }) => digest),
    ];
    const isSound =
      (document.version as number) === 1 &&
      digests.every(isDigest) &&
      document.applied.every(({ number }) => Number.isSafeInteger(number)) &&
      document.open.every(isOpenBundle);
    return isSound ? document : undefined;
  } catch {
    return undefined;
  }
}

function isOpenBundle({ parts, received }: OpenBundle): boolean {
  const isPart = (part: number): boolean => Number.isSafeInteger(part) && part > 0 && part <= parts;
  return parts <= MANIFEST_LIMITS.parts && received.every(isPart);
}
