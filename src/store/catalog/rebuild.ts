import type { Digest } from '../../oci/digest.ts';
import { ManifestError, MAX_MANIFEST_BYTES, parseManifest } from '../../oci/manifest.ts';
import { BlobStore } from '../files/blob-store.ts';
import { CatalogSwap } from './catalog-swap.ts';
import {
  type JournalEntry,
  type ManifestEntry,
  nodeOf,
  type Node,
  type TagRecord,
} from './catalog.ts';
import { describeManifest } from './describe-manifest.ts';
import { LevelCatalog } from './level-catalog.ts';
import type { RebuildReport, Pin } from '../../api/store-api.ts';
import { noCrashPoint, type CrashPoint } from '../faults.ts';
import type { Tag, Target } from '../../oci/reference.ts';
import { below, tagOf, type Batch, type Tables } from './tables.ts';

export interface RebuildOptions {
  /** The store's folder. */
  readonly path: string;
  /** The folder of the catalog, where that is another one. */
  readonly root?: string;
  readonly durability: 'full' | 'rename';
  /** The journal's entries, read only while no other process has the store. */
  readonly entries: () => AsyncIterable<JournalEntry>;
  readonly step?: CrashPoint;
  /** What becomes of the old catalog; without it, it is removed. */
  readonly discard?: (path: string) => Promise<void>;
}

/**
 * Makes the catalog anew from the files of blobs and the journal, as far as there is one. What
 * neither tells is lost: last pulls, their numbers, uses, proofs of blobs that a manifest lists, and what was found
 * out by judging. The old catalog gives way when the new one is complete. Throws when another process has the store, or a newer
 * version wrote its catalog.
 */
export async function rebuildFromFiles(options: RebuildOptions): Promise<RebuildReport> {
  const { path, root = path, step = noCrashPoint } = options;
  await CatalogSwap.recover(root);
  await using swap = await CatalogSwap.begin({ ...options, root, step });
  const report = await fillCatalog(swap.newPath, { ...options, step });
  step('rebuild.filled');
  await swap.markComplete();
  step('rebuild.built');
  await swap.finish();
  return report;
}

async function fillCatalog(
  catalogPath: string,
  { path, durability, entries, step }: RebuildOptions & { readonly step: CrashPoint },
): Promise<RebuildReport> {
  const store = new BlobStore({ path, durability });
  // Writes are not synced: a crash discards an incomplete catalog.
  const catalog = await LevelCatalog.open(catalogPath, { durability: 'rename', isReplay: true });
  try {
    const replay = new Replay(catalog.tables);
    await replay.fill(entries());
    step('rebuild.replayed');
    // Manifests come before blobs: a blob that a manifest lists is no unit of its own.
    const manifests = await addManifests(replay, catalog, store);
    const tags = await addTags(replay, catalog);
    step('rebuild.manifests');
    const blobs = await addBlobs(catalog, store);
    step('rebuild.blobs');
    for await (const { target, digest } of replay.links()) {
      if (await catalog.findBlob(digest)) await catalog.recordLink(target, digest);
    }
    await catalog.changePins({ recorded: await Array.fromAsync(replay.pins()) });
    await replay.clear();
    let images = 0;
    for await (const node of catalog.manifests()) if (await catalog.isRoot(node)) images += 1;
    return { manifests, tags, blobs, images };
  } finally {
    await catalog.close();
  }
}

async function addManifests(
  replay: Replay,
  catalog: LevelCatalog,
  store: BlobStore,
): Promise<number> {
  let count = 0;
  for await (const { node, type, at, seen = at } of replay.manifests()) {
    const entry = await readEntry(store, node.digest, type);
    if (!entry) continue;
    await catalog.recordManifest(node.target, { ...entry, seenAt: seen }, at);
    count += 1;
  }
  return count;
}

async function addTags(replay: Replay, catalog: LevelCatalog): Promise<number> {
  let count = 0;
  for await (const { target, tag, record } of replay.tags()) {
    if (!(await catalog.isHeld({ target, digest: record.digest }))) continue;
    await catalog.recordTag(target, tag, record);
    count += 1;
  }
  return count;
}

async function addBlobs(catalog: LevelCatalog, store: BlobStore): Promise<number> {
  let count = 0;
  for await (const digest of store.folders.list()) {
    count += 1;
    if (await catalog.findBlob(digest)) continue;
    const file = await store.statBlob(digest);
    if (file) await catalog.adoptBlob(digest, { size: file.size, storedAt: file.modifiedAt });
  }
  return count;
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

const ENTRIES_A_WRITE = 200;

type Fact = Record<string, unknown> | 1;

interface ManifestFact {
  readonly type: string;
  readonly at: number;
  readonly seen?: number;
}

/**
 * The last entry of a journal about each thing. Kept in a table of the new catalog, so that a long
 * journal takes no memory.
 */
class Replay {
  readonly #tables: Tables;
  readonly #facts;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#facts = tables.db.sublevel<string, Fact>('replay', { valueEncoding: 'json' });
  }

  async fill(entries: AsyncIterable<JournalEntry>): Promise<void> {
    let together: JournalEntry[] = [];
    const write = async (): Promise<void> => {
      const written = together;
      together = [];
      await this.#tables.write((batch) => {
        for (const entry of written) this.#apply(batch, entry);
      });
    };
    for await (const entry of entries) {
      if (together.push(entry) >= ENTRIES_A_WRITE) await write();
    }
    await write();
  }

  #apply(batch: Batch, entry: JournalEntry): void {
    const sublevel = this.#facts;
    const put = (key: string, fact: object | 1): unknown =>
      batch.put(key, fact, { sublevel: this.#facts });
    if ('manifest' in entry) {
      const { type, at, seen } = entry;
      const fact: ManifestFact = { type, at, ...(seen !== undefined && { seen }) };
      put(`manifest ${entry.of} ${entry.manifest}`, fact);
    } else if ('tag' in entry) {
      const gone = entry.until !== undefined && { goneAt: entry.until };
      put(`tag ${entry.of} ${entry.tag}`, { digest: entry.is, checkedAt: entry.at, ...gone });
    } else if ('blob' in entry) put(`blob ${entry.of} ${entry.blob}`, 1);
    else if ('gone' in entry) {
      batch.del(`manifest ${entry.of} ${entry.gone}`, { sublevel });
      batch.del(`blob ${entry.of} ${entry.gone}`, { sublevel });
    } else if ('untagged' in entry) batch.del(`tag ${entry.of} ${entry.untagged}`, { sublevel });
    else if ('pin' in entry) put(`pin ${entry.pin.origin} ${entry.pin.image}`, entry.pin);
    else batch.del(`pin ${entry.unpin.origin} ${entry.unpin.image}`, { sublevel });
  }

  async *manifests(): AsyncGenerator<ManifestFact & { node: Node }> {
    for await (const [key, fact] of this.#facts.iterator(below('manifest'))) {
      const node = nodeOf(rest(key));
      if (node) yield { node, ...(fact as unknown as ManifestFact) };
    }
  }

  async *tags(): AsyncGenerator<{ target: Target; tag: Tag; record: TagRecord }> {
    for await (const [key, fact] of this.#facts.iterator(below('tag'))) {
      const node = nodeOf(rest(key));
      if (node)
        yield { target: node.target, tag: tagOf(key), record: fact as unknown as TagRecord };
    }
  }

  /** Blobs that no manifest listed, with a repository that was seen to have them. */
  async *links(): AsyncGenerator<{ target: Target; digest: Digest }> {
    for await (const key of this.#facts.keys(below('blob'))) {
      const node = nodeOf(rest(key));
      if (node) yield node;
    }
  }

  async *pins(): AsyncGenerator<Pin> {
    for await (const fact of this.#facts.values(below('pin'))) yield fact as unknown as Pin;
  }

  /** Removes the table. */
  async clear(): Promise<void> {
    await this.#facts.clear();
  }
}

function rest(key: string): string {
  return key.slice(key.indexOf(' ') + 1);
}
