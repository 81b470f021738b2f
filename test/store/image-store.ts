/** A store's parts without the mirror around them, filled with images and emptied by a budget. */
import type { Pin } from '../../src/api/store-api.ts';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { formatTarget, parseRepository, parseTag, type Target } from '../../src/oci/reference.ts';
import { parseManifest } from '../../src/oci/manifest.ts';
import { AccessTimes } from '../../src/store/care/access-times.ts';
import { BlobStore } from '../../src/store/files/blob-store.ts';
import { LevelCatalog } from '../../src/store/catalog/level-catalog.ts';
import type { EvictionResult, Shortage } from '../../src/store/care/evictor.ts';
import { Budget, type AdmitOptions, type BudgetParts } from '../../src/store/care/budget.ts';
import { NoRoomError, type Room } from '../../src/store/care/care.ts';
import { unitOf, type JournalEntry } from '../../src/store/catalog/catalog.ts';
import { Pins } from '../../src/store/care/pins.ts';
import { Clock } from '../helpers/clock.ts';
import type { Image, Stored } from '../helpers/image.ts';
import { createTempFolder } from '../helpers/mirror.ts';

export interface ImageStoreOptions {
  readonly maxBytes?: number;
  readonly maxBlobShare?: number;
  readonly minFreeBytes?: number;
  readonly configured?: readonly Pin[];
  readonly journal?: (entries: readonly JournalEntry[]) => void;
}

export interface Kept {
  readonly target?: Target;
  readonly tags?: readonly string[];
  readonly isPulled?: boolean;
  /** Which of its blobs are held too; default: all. */
  readonly blobs?: readonly Stored[];
}

export const APP = targetOf('hub.example/app');

export class ImageStore {
  readonly clock: Clock;
  readonly path: string;
  readonly blobs: BlobStore;
  readonly catalog: LevelCatalog;
  readonly pins: Pins;
  readonly access: AccessTimes;
  readonly budget: Budget;
  readonly evicted: [string, Shortage][] = [];
  readonly collections: EvictionResult[] = [];
  readonly #names = new Map<string, string>();

  static async open(t: ExecutionContext, options: ImageStoreOptions = {}): Promise<ImageStore> {
    return ImageStore.#open(t, options, { path: await createTempFolder(t), clock: new Clock() });
  }

  static async #open(
    t: ExecutionContext,
    options: ImageStoreOptions,
    { path, clock }: Pick<ImageStore, 'path' | 'clock'>,
  ): Promise<ImageStore> {
    const blobs = await BlobStore.open({ path, durability: 'rename', now: clock.now });
    const { journal } = options;
    const catalog = await LevelCatalog.open(join(path, 'catalog'), {
      durability: 'rename',
      now: clock.now,
      ...(journal && { journal }),
    });
    t.teardown(async () => catalog.close());
    const pins = await Pins.open({ catalog, configured: options.configured ?? [] });
    await catalog.counted;
    return new ImageStore({ path, clock, blobs, catalog, pins }, options);
  }

  constructor(
    opened: Pick<ImageStore, 'path' | 'clock' | 'blobs' | 'catalog' | 'pins'>,
    { maxBytes = 2 ** 40, maxBlobShare = 1, minFreeBytes = 0 }: ImageStoreOptions,
  ) {
    const { path, clock, blobs, catalog, pins } = opened;
    const { now } = clock;
    this.clock = clock;
    this.path = path;
    this.blobs = blobs;
    this.catalog = catalog;
    this.pins = pins;
    this.access = new AccessTimes({ catalog, now });
    this.budget = this.limit(maxBytes, { maxBlobShare, minFreeBytes });
  }

  /** A budget of another size for the same store. */
  limit(
    maxBytes: number,
    { maxBlobShare = 1, minFreeBytes = 0, ...parts }: ImageStoreOptions & Partial<BudgetParts> = {},
  ): Budget {
    const { catalog, blobs, pins, access, clock } = this;
    return new Budget({
      catalog,
      blobs,
      pins,
      access,
      limits: { maxBytes, maxBlobShare, minFreeBytes },
      now: clock.now,
      evicted: ({ digest }, reason) => this.evicted.push([this.nameOf(digest), reason]),
      ended: (collection) => this.collections.push(collection),
      failed: (error) => {
        throw error;
      },
      ...parts,
    });
  }

  /** As after a restart. */
  async reopen(t: ExecutionContext): Promise<ImageStore> {
    await this.catalog.close();
    const again = await ImageStore.#open(t, {}, this);
    for (const [digest, name] of this.#names) again.nameBlob({ digest }, name);
    return again;
  }

  name({ manifest, config, layers }: Image, name: string): void {
    this.nameBlob(manifest, name);
    this.nameBlob(config, `${name}.config`);
    for (const [position, layer] of layers.entries()) {
      this.nameBlob(layer, `${name}.${position}`);
    }
  }

  /** The first name stays. */
  nameBlob({ digest }: Pick<Stored, 'digest'>, name: string): void {
    if (!this.#names.has(digest)) this.#names.set(digest, name);
  }

  nameOf(digest: string): string {
    return this.#names.get(digest) ?? digest;
  }

  /** As a pull does that found nothing held: manifest, then blobs, one tick of the clock later. */
  async keep({ manifest, blobs }: Image, options: Kept = {}): Promise<void> {
    await this.keepManifest(manifest, options);
    for (const blob of options.blobs ?? blobs) await this.keepBlob(blob, options.target);
  }

  async keepManifest(manifest: Stored, options: Kept = {}): Promise<void> {
    const { target = APP, tags = [], isPulled = true } = options;
    this.clock.advance(1);
    const at = this.clock.now();
    const { mediaType, successors, subject } = parseManifest(manifest.bytes, manifest.mediaType);
    const digest = parseDigest(manifest.digest);
    await this.blobs.writeBytes(digest, manifest.bytes);
    const entry = {
      descriptor: { mediaType, digest, size: manifest.size },
      successors,
      tags: tags.map((tag) => ({ tag: parseTag(tag), checkedAt: at })),
      ...(subject && { subject }),
      isPulled,
    };
    await this.catalog.recordManifest(target, entry, at);
  }

  async keepBlob(blob: Stored, target = APP): Promise<void> {
    const digest = parseDigest(blob.digest);
    await this.blobs.writeBytes(digest, blob.bytes);
    const record = { size: blob.size, storedAt: this.clock.now() };
    await this.catalog.recordBlob(target, digest, record);
  }

  /** As a pull does that found it held, one tick of the clock later. */
  pull({ digest }: Pick<Stored, 'digest'>, target = APP): void {
    this.clock.advance(1);
    this.access.note(target, parseDigest(digest));
  }

  /** For a blob that has come as a whole; `undefined` when there is no room for it. */
  async admit(size: number, options: AdmitOptions = {}): Promise<Room | undefined> {
    try {
      return await this.budget.admit(size, { received: size, ...options });
    } catch (error) {
      if (error instanceof NoRoomError) return undefined;
      throw error;
    }
  }

  async pin(image: string, reason?: string): Promise<void> {
    const since = this.clock.now();
    await this.pins.add({ origin: 'hand', image, since, ...(reason !== undefined && { reason }) });
  }

  async lastPull({ digest }: Pick<Stored, 'digest'>, target = APP): Promise<number | undefined> {
    return this.catalog.lastPull(unitOf(target, digest as Digest));
  }

  /** Names of what is held, as files and as the catalog has it; throws where these differ. */
  async held(): Promise<string[]> {
    const files = (await Array.fromAsync(this.blobs.folders.list())).toSorted();
    const records = await Array.fromAsync(this.catalog.listBlobs(), ([digest]) => digest);
    const sizes = await Promise.all(
      files.map(async (digest) => {
        const [algorithm = '', encoded = ''] = digest.split(':');
        const folder = join(this.path, 'blobs', algorithm, encoded.slice(0, 2));
        return (await stat(join(folder, encoded))).size;
      }),
    );
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const known = { records, usage: this.catalog.usage };
    const real = { records: files, usage: { blobs: files.length, bytes } };
    if (JSON.stringify(known) !== JSON.stringify(real)) {
      throw new Error(`the catalog and the files differ: ${JSON.stringify({ known, real })}`);
    }
    return files.map((digest) => this.nameOf(digest)).toSorted();
  }

  /** Names of manifests with their repository. */
  async manifests(): Promise<string[]> {
    const nodes = await Array.fromAsync(this.catalog.manifests());
    return nodes
      .map(({ target, digest }) => `${formatTarget(target)} ${this.nameOf(digest)}`)
      .toSorted();
  }

  async partials(): Promise<string[]> {
    return readdir(join(this.path, 'ingest'));
  }
}

export function targetOf(name: string): Target {
  const slash = name.indexOf('/');
  return { upstream: name.slice(0, slash), repository: parseRepository(name.slice(slash + 1)) };
}

/** A collection in short: names of what went in its order, and of what stayed with its reason. */
export function told(
  store: ImageStore,
  { images, kept }: EvictionResult,
): { went: string[]; kept: string[] } {
  return {
    went: images.map(({ digest }) => store.nameOf(digest)),
    kept: kept.map(({ digest, why }) => `${store.nameOf(digest)}: ${why}`),
  };
}
