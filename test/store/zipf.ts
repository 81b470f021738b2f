import type { ExecutionContext } from 'ava';
import { parseDigest } from '../../src/oci/digest.ts';
import { buildBlob, descriptorOf, MEDIA_TYPES, storeJson, type Stored } from '../helpers/image.ts';
import { ImageStore, targetOf } from './image-store.ts';

export interface ZipfOptions {
  readonly seed: number;
  readonly repositories: number;
  readonly versions: number;
  readonly pulls: number;
  /** Machines that pull, each with the blobs that it has already; without it, a new one each time. */
  readonly machines?: number;
  /** Of all content, how much the cache holds. */
  readonly share: number;
}

/** Of all requests, the part that needed no upstream. */
export interface HitRatios {
  /** Of requests for single blobs and manifests. */
  readonly blobs: number;
  /** Of pulls of which nothing was missing. */
  readonly images: number;
}

export interface ZipfComparison {
  readonly graph: HitRatios;
  /** Of an LRU of blobs that fills the whole budget. */
  readonly lru: HitRatios;
  /** Of one that holds as much as the policy held on average, between its watermarks. */
  readonly lruOfSameBytes: HitRatios;
  readonly mostBytes: number;
  readonly maxBytes: number;
}

interface TraceImage {
  readonly repository: string;
  readonly manifest: Stored;
  readonly blobs: readonly Stored[];
}

/**
 * A trace of pulls whose images are wanted as Zipf's law says, put before the real policy (catalog,
 * access times, budget, on files of few bytes) and before a plain LRU of blobs of the same size.
 * The same options give the same trace. Versions of a repository share their lower layers, and
 * repositories their base, as real ones do; a machine asks for no blob that it has; newer versions replace older ones in the favour of
 * clients as the trace goes on.
 */
export async function compareOnZipf(
  t: ExecutionContext,
  options: ZipfOptions,
): Promise<ZipfComparison> {
  const images = createImages(options);
  const trace = createTrace(images, options);
  const all = new Map(images.flatMap(partsOf).map(({ digest, size }) => [digest, size]));
  const total = [...all.values()].reduce((sum, size) => sum + size, 0);
  const maxBytes = Math.floor(total * options.share);
  const cache = await GraphCache.open(t, maxBytes);
  const graph = new Count();
  for (const asked of trace) graph.add(await cache.pull(asked));
  const { mostBytes, meanBytes } = cache;
  return {
    graph: graph.ratios,
    lru: replay(trace, maxBytes),
    lruOfSameBytes: replay(trace, meanBytes),
    mostBytes,
    maxBytes,
  };
}

function replay(trace: readonly TraceImage[], maxBytes: number): HitRatios {
  const lru = new BlobLru(maxBytes);
  const count = new Count();
  for (const asked of trace) count.add(partsOf(asked).map((part) => lru.get(part)));
  return count.ratios;
}

/** The policy as it runs in the mirror: room is made before a blob comes, hits are noted. */
class GraphCache {
  mostBytes = 0;
  #sum = 0;
  #pulls = 0;
  readonly #store: ImageStore;

  static async open(t: ExecutionContext, maxBytes: number): Promise<GraphCache> {
    const store = await ImageStore.open(t, { maxBytes });
    // The machine's disk is no part of the simulation.
    store.blobs.folders.freeBytes = async () => undefined;
    return new GraphCache(store);
  }

  constructor(store: ImageStore) {
    this.#store = store;
  }

  get meanBytes(): number {
    return Math.round(this.#sum / Math.max(1, this.#pulls));
  }

  /** Which of its parts were held, the manifest first. */
  async pull({ repository, manifest, blobs }: TraceImage): Promise<boolean[]> {
    const store = this.#store;
    const target = targetOf(repository);
    const isHeld = await store.catalog.isHeld({
      target,
      digest: parseDigest(manifest.digest),
    });
    const hits = [isHeld];
    if (!isHeld) {
      await this.#keep(manifest, () => store.keepManifest(manifest, { target }));
    }
    store.pull(manifest, target);
    for (const blob of blobs) {
      const isHit = (await store.catalog.findBlob(parseDigest(blob.digest))) !== undefined;
      hits.push(isHit);
      if (!isHit) await this.#keep(blob, () => store.keepBlob(blob, target));
    }
    this.#sum += store.catalog.usage.bytes;
    this.#pulls += 1;
    return hits;
  }

  async #keep({ size }: Stored, keep: () => Promise<void>): Promise<void> {
    const { budget, catalog } = this.#store;
    using room = await budget.admit(size);
    // What is collected beside the work ends here: the same trace always ends the same.
    await budget.evict(0);
    if (room) await keep();
    this.mostBytes = Math.max(this.mostBytes, catalog.usage.bytes);
  }
}

class BlobLru {
  readonly #maxBytes: number;
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether it is there; it is there afterwards. */
  get({ digest, size }: Stored): boolean {
    const isHit = this.#sizes.delete(digest);
    if (!isHit) this.#bytes += size;
    this.#sizes.set(digest, size);
    for (const [oldest, freed] of this.#sizes) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#sizes.delete(oldest);
      this.#bytes -= freed;
    }
    return isHit;
  }
}

class Count {
  #requests = 0;
  #hits = 0;
  #pulls = 0;
  #whole = 0;

  add(hits: readonly boolean[]): void {
    this.#requests += hits.length;
    this.#hits += hits.filter(Boolean).length;
    this.#pulls += 1;
    this.#whole += Number(hits.every(Boolean));
  }

  get ratios(): HitRatios {
    return { blobs: this.#hits / this.#requests, images: this.#whole / this.#pulls };
  }
}

function partsOf({ manifest, blobs }: TraceImage): Stored[] {
  return [manifest, ...blobs];
}

function createImages({ seed, repositories, versions }: ZipfOptions): TraceImage[] {
  const bases = [0, 1, 2].map((n) => buildBlob(`${seed} base ${n}`, 3000 + 1000 * n));
  return Array.from({ length: repositories * versions }, (_, position) => {
    const [name, version] = [position % repositories, Math.floor(position / repositories)];
    const lower = buildBlob(`${seed} lower ${name} ${Math.floor(version / 2)}`, 500 + 40 * name);
    const upper = buildBlob(`${seed} upper ${name} ${version}`, 300 + 97 * ((name * 7) % 11));
    const config = buildBlob(`${seed} config ${name} ${version}`, 60);
    const layers = [bases[name % 3]!, lower, upper];
    const { manifest: mediaType } = MEDIA_TYPES;
    const listed = { config: descriptorOf(config), layers: layers.map(descriptorOf) };
    const manifest = storeJson({ schemaVersion: 2, mediaType, ...listed }, mediaType);
    return { repository: `hub.example/r${name}`, manifest, blobs: [config, ...layers] };
  });
}

function createTrace(images: readonly TraceImage[], options: ZipfOptions): TraceImage[] {
  const { seed, repositories, versions, pulls, machines } = options;
  const owned = Array.from({ length: machines ?? 0 }, () => new Set<string>());
  const random = createRandom(seed);
  const weights = Array.from({ length: repositories }, (_, rank) => 1 / (rank + 1));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return Array.from({ length: pulls }, (_, turn) => {
    let left = random() * sum;
    let name = 0;
    while (name < repositories - 1 && left > weights[name]!) {
      left -= weights[name]!;
      name += 1;
    }
    const newest = Math.floor((turn / pulls) * versions);
    // Most pull the newest version, some one of those before.
    const version = random() < 0.7 ? newest : Math.floor(random() * (newest + 1));
    const image = images[version * repositories + name]!;
    if (machines === undefined) return image;
    const position = Math.floor(random() * machines);
    // Now and then one is set up anew.
    if (random() < 0.02) owned[position] = new Set();
    return missingOn(owned[position]!, image);
  });
}

/** What a machine asks for: the manifest, and the blobs that it has not. It has them then. */
function missingOn(owned: Set<string>, image: TraceImage): TraceImage {
  const blobs = image.blobs.filter(({ digest }) => !owned.has(digest));
  for (const { digest } of blobs) owned.add(digest);
  return { ...image, blobs };
}

/** mulberry32: small, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
