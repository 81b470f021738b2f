import type {
  CollectionReport,
  ImageQuery,
  ImageReport,
  ImageSummary,
  InUse,
  InUseList,
  KeptImage,
  PassedOver,
  Pin,
  RefreshReport,
  RemovalReport,
  StoreApi,
  StoreSummary,
  AbsentImage,
  VerifyState,
} from '../api/store-api.ts';
import { ConfigError } from '../config/problems.ts';
import { isGlob, parseGlob } from '../config/glob.ts';
import type { Pattern } from '../config/pattern.ts';
import type { Addressing } from '../mirror/addressing.ts';
import type { Mirror } from '../mirror/mirror.ts';
import { isDigest, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { readListed } from '../oci/image-list.ts';
import {
  formatTarget,
  splitTarget,
  type Tag,
  DEFAULT_TAG,
  formatImageName,
} from '../oci/reference.ts';
import { sumOf, type Care, type EvictionResult, type Scrubber } from '../store/care/care.ts';
import type { Node } from '../store/catalog/catalog.ts';
import type { Store } from '../store/store.ts';
import { ageOf } from '../time/clock.ts';
import { IMAGE_ORDER } from './image-order.ts';
import { ImageRemoval } from './image-removal.ts';
import { keptImages } from './kept-images.ts';
import { refreshTag } from './tag-refresh.ts';
import { TEXTS } from './texts.ts';

export interface StoreAdminParts {
  readonly store: Store;
  readonly scrubber: Scrubber;
  readonly mirror: Pick<Mirror, 'refresh'>;
  readonly addressing: Addressing;
  readonly limits: { readonly maxBytes: number; readonly minFreeBytes: number };
  readonly now: () => number;
}

/** How long the number of images counts as known: it takes a walk over all manifests. */
const COUNT_MS = 60_000;

/** The store as operators ask about it, in the names that clients use. */
export class StoreAdmin implements StoreApi {
  #parts: StoreAdminParts;
  #counted: { at: number; images: Promise<number> } | undefined;

  constructor(parts: StoreAdminParts) {
    this.#parts = parts;
  }

  /** By these names and limits from now on. */
  configure(configured: Pick<StoreAdminParts, 'addressing' | 'limits'>): void {
    this.#parts = { ...this.#parts, ...configured };
  }

  get verifyState(): VerifyState {
    return this.#parts.scrubber.state;
  }

  async summary(): Promise<StoreSummary> {
    const { store, limits } = this.#parts;
    const { blobs, catalog, care } = store;
    const { budget, health, lastCollection } = care;
    const freeBytes = await blobs.folders.freeBytes();
    return {
      path: store.path,
      ...catalog.usage,
      images: await this.#countImages(),
      maxBytes: limits.maxBytes,
      minFreeBytes: limits.minFreeBytes,
      ...(freeBytes !== undefined && { freeBytes }),
      reservedBytes: budget.reservedBytes,
      quarantined: blobs.aside.amountOf('quarantine'),
      partials: blobs.aside.amountOf('ingest'),
      otherBytes: care.bytes['other']!,
      ...health.condition,
      ...(lastCollection && { lastCollection }),
      verify: this.verifyState,
    };
  }

  async images({ match, sort, limit }: ImageQuery): Promise<ImageSummary[]> {
    const { inventory } = await this.#upToDate();
    const pattern = match === undefined ? undefined : patternOf(match);
    let found: ImageSummary[] = [];
    for await (const node of inventory.images()) {
      const image = await inventory.describe(node);
      const names = [image.image, ...image.tags.map((tag) => `${image.image}:${tag}`)];
      if (!pattern || names.some((name) => pattern.matches(name))) found.push(image);
      // No more than twice what is wanted is in memory.
      if (found.length >= 2 * limit) found = found.toSorted(IMAGE_ORDER[sort]).slice(0, limit);
    }
    return found.toSorted(IMAGE_ORDER[sort]).slice(0, limit);
  }

  async explain(image: string): Promise<ImageReport | undefined> {
    const { catalog } = this.#parts.store;
    const care = await this.#upToDate();
    const node = await this.#find(image);
    const record = node && (await catalog.findManifest(node.target, node.digest));
    if (!node || !record) return undefined;
    const described = await care.inventory.explain(node);
    const checked = await Promise.all(
      described.tags.map(async (tag) => {
        const known = await catalog.findTag(node.target, tag as Tag);
        return [tag, known?.checkedAt ?? 0] as const;
      }),
    );
    return {
      ...described,
      storedAt: record.storedAt,
      tagsCheckedAt: Object.fromEntries(checked),
      partOf: [...(await catalog.parents(node)), ...(await catalog.attachedTo(node))],
    };
  }

  /** With the pulls of this moment; where the disk takes none, with those before. */
  async #upToDate(): Promise<Care> {
    const { care } = this.#parts.store;
    await care.access.flush().catch(() => undefined);
    return care;
  }

  async absence(image: string): Promise<AbsentImage> {
    const { store, addressing } = this.#parts;
    if (isDigest(image)) return { image, repository: '', tags: [] };
    const { target } = addressing.resolveImage(image);
    return {
      image: canonicalImage(addressing, image, DEFAULT_TAG),
      repository: formatTarget(target),
      tags: await store.catalog.listTags(target),
    };
  }

  async planCollection(bytes?: number): Promise<CollectionReport> {
    return this.#report(await this.#parts.store.care.budget.plan(bytes));
  }

  async collect(bytes?: number): Promise<CollectionReport> {
    return this.#report(await this.#parts.store.care.budget.evict(bytes));
  }

  async refresh(image: string): Promise<RefreshReport> {
    return refreshTag(image, this.#parts);
  }

  async remove(image: string, options: { isPlan: boolean }): Promise<RemovalReport | undefined> {
    return new ImageRemoval(image, this.#parts).run(options);
  }

  startVerify(): VerifyState {
    this.#parts.scrubber.verify();
    return this.verifyState;
  }

  pins(): readonly Pin[] {
    return this.#parts.store.care.pins.list();
  }

  async pin(image: string, reason?: string): Promise<Pin> {
    const pin = this.#pinOf('hand', image, reason);
    await this.#parts.store.care.pins.add(pin);
    return pin;
  }

  async unpin(image: string): Promise<boolean> {
    const { store, addressing } = this.#parts;
    return store.care.pins.remove({ origin: 'hand', image: canonicalImage(addressing, image) });
  }

  async pinsOf(image: string): Promise<readonly Pin[]> {
    const { store, addressing } = this.#parts;
    const canonical = canonicalImage(addressing, image);
    const named = store.care.pins.list().filter((pin) => pin.image === canonical);
    const node = isGlob(image) ? undefined : await this.#find(image);
    if (!node) return named;
    const tags = await store.catalog.tagsOf(node);
    return [...new Set([...named, ...store.care.pins.of({ ...node, tags })])];
  }

  kept(after?: string): AsyncIterable<KeptImage> {
    return keptImages(this.#parts.store, after);
  }

  async findHeld(images: readonly string[]): Promise<ReadonlySet<string>> {
    return this.#parts.store.care.inventory.findHeld(images);
  }

  async setInUse(source: string, { entries, isWhole }: InUseList): Promise<InUse> {
    const { pins } = this.#parts.store.care;
    const origin = `use:${source}`;
    const found = entries.flatMap((entry, at) => this.#readEntry(origin, entry, at + 1));
    const named = found.filter((image): image is Pin => 'origin' in image);
    const passedOver = found.filter((image): image is PassedOver => 'line' in image);
    const namesAny = named.length > 0 || passedOver.some(({ kind }) => kind === 'elsewhere');
    // A list that its writer has just begun, or has not filled because it failed.
    if (isWhole && entries.length > 0 && !namesAny) {
      const message = TEXTS.namesNone({ source, entries: describePassedOver(passedOver) });
      throw new RegistryError('UNSUPPORTED', { status: 422, message });
    }
    await pins.replace(origin, named, { isAdded: !isWhole });
    return { pins: pins.list().filter((pin) => pin.origin === origin), passedOver };
  }

  #readEntry(origin: string, entry: string, line: number): (Pin | PassedOver)[] {
    const { images, unnamed } = readListed(entry);
    const nameless = unnamed.map((text) => {
      return { line, text: clip(text), kind: 'unnamed', reason: TEXTS.unnamed } as const;
    });
    return [...images.map((image) => this.#readImage(origin, image, line)), ...nameless];
  }

  #readImage(origin: string, image: string, line: number): Pin | PassedOver {
    try {
      return this.#pinOf(origin, image);
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      const isElsewhere = ELSEWHERE.has(error.code);
      return {
        line,
        text: clip(image),
        ...(isElsewhere
          ? { kind: 'elsewhere', reason: TEXTS.elsewhere }
          : { kind: 'invalid', reason: clip(error.message) }),
      };
    }
  }

  #pinOf(origin: string, image: string, reason?: string): Pin {
    return {
      origin,
      image: canonicalImage(this.#parts.addressing, image),
      ...(reason !== undefined && { reason }),
      since: this.#parts.now(),
    };
  }

  async #find(image: string): Promise<Node | undefined> {
    const { catalog } = this.#parts.store;
    if (isDigest(image)) return this.#findHolder(image);
    const { target, tag, digest } = this.#parts.addressing.resolveImage(image);
    if (digest) return { target, digest };
    const record = await catalog.findTag(target, tag ?? DEFAULT_TAG);
    return record && { target, digest: record.digest };
  }

  /** Of a digest without a repository: the first held manifest that it is, or that lists it. */
  async #findHolder(digest: Digest): Promise<Node | undefined> {
    const { catalog } = this.#parts.store;
    for await (const holder of catalog.holders(digest)) {
      const own = { ...holder, digest };
      return (await catalog.isHeld(own)) ? own : holder;
    }
    return undefined;
  }

  async #report({ wantedBytes, images, kept }: EvictionResult): Promise<CollectionReport> {
    const { catalog } = this.#parts.store;
    return {
      wantedBytes,
      released: sumOf(images),
      images: images.map(({ image, tags, digest, lastPulledAt, bytes }) => {
        const why = image === '' ? TEXTS.unlisted : TEXTS.oldest;
        return { image, tags, digest, lastPulledAt, bytes, why };
      }),
      kept: await Promise.all(
        kept.map(async ({ image, digest, why }) => {
          const node = image === '' ? undefined : { target: splitTarget(image), digest };
          return { image, tags: node ? await catalog.tagsOf(node) : [], digest, why };
        }),
      ),
    };
  }

  async #countImages(): Promise<number> {
    const { now } = this.#parts;
    const age = this.#counted && ageOf(this.#counted.at, { wall: now });
    if (!this.#counted || age === undefined || age > COUNT_MS) {
      const images = this.#countRoots();
      this.#counted = { at: now(), images };
      // A failed count is made again for the next caller.
      images.catch(() => (this.#counted = undefined));
    }
    return this.#counted.images;
  }

  async #countRoots(): Promise<number> {
    let count = 0;
    for await (const _ of this.#parts.store.care.inventory.images()) count += 1;
    return count;
  }
}

/** The name of an image as a pin keeps it, with its registry; a glob stays as it is. Throws `RegistryError`. */
export function canonicalImage(addressing: Addressing, image: string, defaultTag?: Tag): string {
  if (isGlob(image)) {
    patternOf(image);
    return image;
  }
  const { target, tag, digest } = addressing.resolveImage(image);
  const name = formatTarget(target);
  const meant = tag ?? defaultTag;
  return formatImageName({ name, ...(digest ? { digest } : meant && { tag: meant }) });
}

/** Throws `NAME_INVALID`. */
function patternOf(glob: string): Pattern {
  try {
    return parseGlob(glob);
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new RegistryError('NAME_INVALID', { detail: cause.message, cause });
  }
}

/** An entry may be as long as its list; so much of it tells people which one is meant. */
const MAX_SHOWN = 120;

function clip(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** The first of them, where there is one. */
function describePassedOver([first]: readonly PassedOver[]): string {
  return first ? ` (line ${first.line}: ${first.text}: ${first.reason})` : '';
}

/** The errors of an image that no upstream of this mirror may be asked for. */
const ELSEWHERE: ReadonlySet<string> = new Set(['NAME_UNKNOWN', 'DENIED']);
