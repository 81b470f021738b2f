import type { Digest } from '../../oci/digest.ts';
import { ManifestError, MAX_MANIFEST_BYTES, parseManifest } from '../../oci/manifest.ts';
import { BlobStore } from '../files/blob-store.ts';
import { CatalogSwap } from './catalog-swap.ts';
import { describeManifest, type JournalEntry, type ManifestEntry } from './catalog.ts';
import { LevelCatalog } from './level-catalog.ts';
import type { RebuildReport } from '../../api/store-api.ts';
import { Replay } from './replay.ts';
import { noStep, type Step } from '../step.ts';

export interface RebuildOptions {
  /** The store's folder. */
  readonly path: string;
  readonly durability: 'full' | 'rename';
  /** What the journal says, read when nobody else has the store any more. */
  readonly entries: () => AsyncIterable<JournalEntry>;
  /** Told now and then how far it is. */
  readonly onProgress?: (done: Omit<RebuildReport, 'images'>) => void;
  readonly step?: Step;
}

const PROGRESS_EVERY = 1000;

/**
 * Makes the catalog anew from the files of blobs and the journal, as far as there is one. What
 * neither tells is lost: last pulls, and proofs of blobs that a manifest lists. The old catalog
 * gives way when the new one is complete. Throws when another process has the store, or a newer
 * version wrote its catalog.
 */
export async function rebuildCatalog(options: RebuildOptions): Promise<RebuildReport> {
  await finishRebuild(options.path);
  const step = options.step ?? noStep;
  await using swap = await CatalogSwap.begin({ ...options, step });
  const rebuilt = await new Rebuild(options).build(swap.newPath);
  step('rebuild.filled');
  await swap.markComplete();
  step('rebuild.built');
  await swap.finish();
  return rebuilt;
}

/**
 * Finishes or undoes what a crash left of a rebuild. Before the catalog is opened. Throws when
 * another process is rebuilding it.
 */
export async function finishRebuild(path: string): Promise<void> {
  await CatalogSwap.recover(path);
}

class Rebuild {
  readonly #options: RebuildOptions;
  readonly #step: Step;
  #manifests = 0;
  #tags = 0;
  #blobs = 0;

  constructor(options: RebuildOptions) {
    this.#options = options;
    this.#step = options.step ?? noStep;
  }

  async build(catalogPath: string): Promise<RebuildReport> {
    const { path, durability } = this.#options;
    const store = await BlobStore.open({ path, durability });
    // Not synced write by write: until it is complete it counts for nothing.
    const catalog = await LevelCatalog.open(catalogPath, { durability: 'rename' });
    try {
      const replay = new Replay(catalog.tables);
      await replay.fill(this.#options.entries());
      this.#step('rebuild.replayed');
      // Before the blobs: one that a manifest lists is no unit of its own.
      await this.#addManifests(replay, catalog, store);
      this.#step('rebuild.manifests');
      await this.#addBlobs(catalog, store);
      this.#step('rebuild.blobs');
      for await (const { target, digest } of replay.links()) {
        if (await catalog.findBlob(digest)) await catalog.recordLink(target, digest);
      }
      for await (const pin of replay.pins()) await catalog.recordPin(pin);
      await replay.clear();
      return { ...this.#done(), images: await countImages(catalog) };
    } finally {
      await catalog.close();
    }
  }

  async #addManifests(replay: Replay, catalog: LevelCatalog, store: BlobStore): Promise<void> {
    for await (const { node, type, at } of replay.manifests()) {
      const entry = await readEntry(store, node.digest, type);
      if (!entry) continue;
      await catalog.recordManifest(node.target, entry, at);
      this.#manifests += 1;
      this.#report(this.#manifests);
    }
    for await (const { target, tag, record } of replay.tags()) {
      if (!(await catalog.findManifest(target, record.digest))) continue;
      await catalog.recordTag(target, tag, record);
      this.#tags += 1;
    }
  }

  async #addBlobs(catalog: LevelCatalog, store: BlobStore): Promise<void> {
    for await (const digest of store.folders.list()) {
      this.#blobs += 1;
      this.#report(this.#blobs);
      if (await catalog.findBlob(digest)) continue;
      const file = await store.statBlob(digest);
      if (file) await catalog.adoptBlob(digest, { size: file.size, storedAt: file.modifiedAt });
    }
  }

  #report(count: number): void {
    if (count % PROGRESS_EVERY === 0) this.#options.onProgress?.(this.#done());
  }

  #done(): Omit<RebuildReport, 'images'> {
    return { manifests: this.#manifests, tags: this.#tags, blobs: this.#blobs };
  }
}

async function countImages(catalog: LevelCatalog): Promise<number> {
  let images = 0;
  for await (const node of catalog.manifests()) if (await catalog.isRoot(node)) images += 1;
  return images;
}

/** `undefined` when the bytes are gone, damaged, or no manifest. */
async function readEntry(
  store: BlobStore,
  digest: Digest,
  type: string,
): Promise<ManifestEntry | undefined> {
  const blob = await store.find(digest);
  if (!blob || blob.size > MAX_MANIFEST_BYTES) return undefined;
  const bytes = await store.readBytes(digest);
  if (!bytes) return undefined;
  try {
    return { ...describeManifest(digest, bytes.length, parseManifest(bytes, type)), tags: [] };
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}
