import type { BundledImage, ImportReport } from '../../src/api/bundle-api.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import type { Digest } from '../../src/oci/digest.ts';
import {
  MAX_MANIFEST_BYTES,
  ManifestError,
  parseManifest,
  type Manifest,
} from '../../src/oci/manifest.ts';
import { isForeignType, isManifestType } from '../../src/oci/media-types.ts';
import {
  formatImageName,
  itemKey,
  splitTarget,
  type Tag,
  type Target,
} from '../../src/oci/reference.ts';
import type { Pins } from '../../src/store/care/care.ts';
import type { Catalog, TagMeaning } from '../../src/store/catalog/catalog.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import type { CrashPoint } from '../../src/store/store.ts';
import { findRefusal } from '../image-refusal.ts';
import type { SyncParts } from '../parts.ts';
import { BundleError } from './bundle-error.ts';
import { findBroughtParts } from './brought-parts.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import { isAttached } from './counted-images.ts';
import { recordBrought } from './record-brought.ts';
import type { BroughtImage, RefusedArrival, SiteState } from './site-state.ts';
import { TEXTS } from './texts.ts';

export interface ApplicationParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly state: SiteState;
  readonly refusal: SyncParts['refusal'];
  readonly isJudged: SyncParts['isJudged'];
  /** What the rules of sync keep, as `name@digest`. */
  readonly synced: () => ReadonlySet<string>;
  readonly now: () => number;
  readonly step: CrashPoint;
}

/** A manifest that is to be recorded in a repository; it is read again then, so that none is kept in memory. */
interface Found {
  readonly target: Target;
  readonly digest: Digest;
}

interface Judged {
  readonly taken: readonly BundledImage[];
  /** What admission refuses, and why. */
  readonly left: ReadonlyMap<BundledImage, string>;
}

const ORIGIN = 'sync';
const REASON = 'bundle ';

/**
 * Puts a bundle in force of which all content is in the store: manifests are recorded, the lowest first, then
 * what is attached to images; those that admission does not refuse here are pinned; then all their tags move
 * at once; then images are released. What is refused is held as what nobody wants. Killed at any step, it is
 * done over by another import of the same bundle. Its blobs are leased meanwhile.
 */
export class Application {
  readonly #parts: ApplicationParts;
  readonly #manifest: BundleManifest;
  /** Sizes of what it carries and needs. */
  readonly #here: ReadonlyMap<string, number>;
  /** Of its images, where a manifest does not say it itself. */
  readonly #types: ReadonlyMap<string, string>;
  #found: ReadonlyMap<string, Found> = new Map();

  constructor(parts: ApplicationParts, manifest: BundleManifest) {
    this.#parts = parts;
    this.#manifest = manifest;
    const { blobs, needs, images } = manifest;
    this.#types = new Map(images.map(({ digest, mediaType }) => [digest, mediaType]));
    this.#here = new Map([...needs, ...blobs].map(({ digest, size }) => [digest, size]));
  }

  /** Throws a `BundleError` with code `needs` or `content`; nothing is written that a client could see. */
  async check(): Promise<void> {
    this.#found = await this.#findAll();
    this.#parts.step('bundle.checked');
  }

  /** After `check`. */
  async apply(): Promise<Pick<ImportReport, 'images' | 'moved' | 'released' | 'refused'>> {
    const { state, step } = this.#parts;
    const found = this.#found;
    for (const each of found.values()) await this.#record(each);
    step('bundle.recorded');
    const { taken, left, tagged } = await this.#judgeAll();
    await this.#pin(taken);
    step('bundle.pinned');
    const moved = await this.#move(tagged);
    step('bundle.tagged');
    await this.#recordSearches(found);
    const released = this.#manifest.released.filter(
      (name) => state.current.images[name]?.series === this.#manifest.series,
    );
    const kept = new Map<string, BroughtImage>();
    for (const image of taken) kept.set(nameOf(image), await this.#brought(image, found));
    await state.keep(kept, released, this.#arrivals(left));
    await this.#unpin();
    step('bundle.released');
    const refused = [...left].map(([image, reason]) => ({
      image: nameOf(image),
      reason: TEXTS.refusedHere({ reason, advice: image.advice?.join(', ') }),
    }));
    return { images: taken.length, moved, released, refused };
  }

  #arrivals(left: Judged['left']): ReadonlyMap<string, RefusedArrival> {
    const { series, number } = this.#manifest;
    const came = { series, number, broughtAt: this.#parts.now() };
    return new Map(
      [...left.keys()].map((image) => [nameOf(image), { digest: image.digest as Digest, ...came }]),
    );
  }

  async #judgeAll(): Promise<Judged & { readonly tagged: readonly BundledImage[] }> {
    const { images } = this.#manifest;
    const { own = [], attached = [] } = Object.groupBy(images, (image) =>
      isAttached(image) ? 'attached' : 'own',
    );
    // Signatures under tags are among what images are judged by.
    const judged = attached.filter(({ name }) => this.#parts.isJudged(splitTarget(name)));
    const evidence = await this.#judge(judged);
    await this.#move(evidence.taken);
    const found = await this.#judge(own);
    const others = await this.#judge(evidence.left.keys());
    const isTagged = (image: BundledImage): boolean =>
      !found.left.has(image) && !others.left.has(image);
    return { ...found, tagged: images.filter(isTagged) };
  }

  /** By what is held here, whatever the bundle says. */
  async #judge(images: Iterable<BundledImage>): Promise<Judged> {
    const taken: BundledImage[] = [];
    const left = new Map<BundledImage, string>();
    for (const image of images) {
      const [target, digest] = [splitTarget(image.name), image.digest as Digest];
      const files = await this.#manifestsOf(target, digest);
      const reason = await findRefusal(this.#parts, { target, digest, files });
      if (reason === undefined) taken.push(image);
      else left.set(image, reason);
    }
    return { taken, left };
  }

  async #manifestsOf(target: Target, root: Digest): Promise<ReadonlySet<Digest>> {
    const manifests = new Set([root]);
    for (const each of manifests) {
      for (const { digest } of (await this.#parts.catalog.members(each))?.successors ?? []) {
        if (this.#found.has(itemKey(target, digest))) manifests.add(digest);
      }
    }
    return manifests;
  }

  async #brought(
    { name, digest: root }: BundledImage,
    found: ReadonlyMap<string, Found>,
  ): Promise<BroughtImage> {
    const { catalog, now } = this.#parts;
    const [target, digest] = [splitTarget(name), root as Digest];
    const parts = await findBroughtParts(catalog, digest, (each) =>
      found.has(itemKey(target, each)),
    );
    return { digest, series: this.#manifest.series, ...parts, broughtAt: now() };
  }

  /** Every manifest of every image, each after those that it lists, with all of its blobs looked for. */
  async #findAll(): Promise<Map<string, Found>> {
    const found = new Map<string, Found>();
    for (const { name, digest } of this.#manifest.images) {
      await this.#find(splitTarget(name), digest as Digest, found);
    }
    return found;
  }

  /** As deep as indexes may be nested: deeper ones are refused. */
  async #find(target: Target, digest: Digest, found: Map<string, Found>, depth = 0): Promise<void> {
    if (found.has(itemKey(target, digest))) return;
    if (depth > MAX_DEPTH) throw new BundleError('format', TEXTS.tooDeep({ most: MAX_DEPTH }));
    const { children, blobs } = await this.#read(digest);
    for (const child of children) await this.#find(target, child, found, depth + 1);
    for (const blob of blobs) await this.#requireBlob(blob);
    found.set(itemKey(target, digest), { target, digest });
  }

  /** What of its manifests and blobs is part of the image: other platforms are not. */
  async #read(digest: Digest): Promise<{
    readonly manifest: Manifest;
    readonly children: readonly Digest[];
    readonly blobs: readonly Descriptor[];
  }> {
    const manifest = await this.#readManifest(digest);
    const listed = manifest.successors;
    const children = listed.filter(
      (each) => isManifestType(each.mediaType) && this.#here.has(each.digest),
    );
    const blobs = listed.filter(
      ({ mediaType }) => !isManifestType(mediaType) && !isForeignType(mediaType),
    );
    return { manifest, children: children.map((child) => child.digest), blobs };
  }

  /** Throws a `BundleError` for one that is gone, and for what no registry would take. */
  async #readManifest(digest: Digest): Promise<Manifest> {
    if ((this.#here.get(digest) ?? 0) > MAX_MANIFEST_BYTES) {
      throw new BundleError('format', TEXTS.manifestBytes({ digest, most: MAX_MANIFEST_BYTES }));
    }
    const bytes = await this.#parts.blobs.readBytes(digest);
    if (!bytes) throw this.#lacks(digest);
    try {
      return parseManifest(bytes, this.#types.get(digest));
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      const message = TEXTS.noManifest({ digest, reason: error.message });
      throw new BundleError('format', message, { cause: error });
    }
  }

  async #requireBlob({ digest, size }: { digest: Digest; size: number }): Promise<void> {
    const { catalog, blobs } = this.#parts;
    const [record, file] = await Promise.all([catalog.findBlob(digest), blobs.statBlob(digest)]);
    if (record?.size !== size || file?.size !== size) throw this.#lacks(digest);
  }

  #lacks(digest: Digest): BundleError {
    const isCarried = this.#manifest.blobs.some((blob) => blob.digest === digest);
    const { number } = this.#manifest;
    return isCarried
      ? new BundleError('content', TEXTS.carriedLost({ digest, number }))
      : new BundleError('needs', TEXTS.needsMissing({ count: 1, digests: digest }));
  }

  async #record({ target, digest }: Found): Promise<void> {
    const { catalog, now } = this.#parts;
    const { manifest, blobs } = await this.#read(digest);
    const proven = blobs.map((blob) => blob.digest);
    const links = await Promise.all(proven.map(async (each) => catalog.findLink(target, each)));
    const isProven = links.every((link) => link === 'proven');
    if (isProven && (await catalog.isHeld({ target, digest }))) return;
    const size = this.#here.get(digest) ?? 0;
    await recordBrought(catalog, { target, digest, size, manifest, proven }, now());
  }

  /** Once what is attached has its tags: whatever else is asked for is known to be none from then on. */
  async #recordSearches(found: ReadonlyMap<string, Found>): Promise<void> {
    const { catalog } = this.#parts;
    const record = async (target: Target, digest: Digest): Promise<void> => {
      if (!found.has(itemKey(target, digest))) return;
      await catalog.recordSearch({ target, digest });
      const successors = (await catalog.members(digest))?.successors ?? [];
      for (const child of successors) await record(target, child.digest);
    };
    for (const { name, digest, isSearched } of this.#manifest.images) {
      if (isSearched) await record(splitTarget(name), digest as Digest);
    }
  }

  async #pin(images: readonly BundledImage[]): Promise<void> {
    const { pins, now } = this.#parts;
    const known = new Map(
      pins.list().flatMap((pin) => (pin.origin === ORIGIN ? [[pin.image, pin] as const] : [])),
    );
    const wanted = Map.groupBy(images, ({ name, digest }) => `${name}@${digest}`);
    await pins.replace(
      ORIGIN,
      [...wanted].map(([image, same]) => {
        const {
          reason = `${REASON}${this.#manifest.series}`,
          since = now(),
          tags = [],
        } = known.get(image) ?? {};
        const own = same.flatMap(({ tag = [] }) => tag);
        return {
          origin: ORIGIN,
          image,
          tags: [...new Set([...tags, ...own])].toSorted(),
          reason,
          since,
        };
      }),
      { isAdded: true },
    );
  }

  /** All their tags in one write. Resolves with those of images that mean something else than before. */
  async #move(images: readonly BundledImage[]): Promise<ImportReport['moved']> {
    const { catalog, now } = this.#parts;
    const checkedAt = now();
    const meanings: TagMeaning[] = [];
    const moved: { image: string; digest: string; before?: string }[] = [];
    for (const image of images) {
      if (image.tag === undefined) continue;
      const [target, tag] = [splitTarget(image.name), image.tag as Tag];
      const digest = image.digest as Digest;
      meanings.push({ target, tag, record: { digest, checkedAt } });
      const before = (await catalog.findTag(target, tag))?.digest;
      if (before === digest || isAttached(image)) continue;
      moved.push({ image: nameOf(image), digest, ...(before && { before }) });
    }
    await catalog.setTags(meanings);
    return moved;
  }

  /** What bundles brought and nobody wants any more may be evicted. */
  async #unpin(): Promise<void> {
    const { pins, state, synced } = this.#parts;
    const wanted = synced().union(state.imageNames);
    for (const { origin, image, reason = '' } of pins.list()) {
      const isOurs = origin === ORIGIN && reason.startsWith(REASON);
      if (isOurs && !wanted.has(image)) await pins.remove({ origin, image });
    }
  }
}

/** Runtimes follow two levels; an index of indexes of an index is none that anybody pulls. */
const MAX_DEPTH = 4;

function nameOf({ name, tag, digest }: BundledImage): string {
  return formatImageName({
    name,
    ...(tag === undefined ? { digest: digest as Digest } : { tag: tag as Tag }),
  });
}
