import PQueue from 'p-queue';
import type { Config } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Catalog } from '../store/catalog.ts';
import type { Timing } from '../upstream/timing.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { Blobs } from './blobs.ts';
import { Downloads } from './downloads.ts';
import { FallbackTags } from './fallback-tags.ts';
import { Listings } from './listings.ts';
import { ManifestShelf } from './manifest-shelf.ts';
import { Manifests } from './manifests.ts';
import { Negatives } from './negatives.ts';
import { Policy } from './policy.ts';
import { SingleFlight } from './single-flight.ts';
import { SourceRegistries, type NamedStatus } from './source-registry.ts';
import { TagBook } from './tag-book.ts';

export interface MirrorParts {
  readonly config: Config;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
}

/** The engine: what is asked of it comes from the store or, once, from an upstream. */
export class Mirror {
  readonly manifests: Manifests;
  readonly blobs: Blobs;
  readonly listings: Listings;
  readonly downloads: Downloads;
  readonly #registries: SourceRegistries;
  readonly #flight = new SingleFlight();

  constructor(parts: MirrorParts) {
    const { catalog, blobs, log, now, config, timing, metrics } = parts;
    const flight = this.#flight;
    const registries = new SourceRegistries(
      new Map(
        Object.values(config.upstreams).map(({ name, tags, concurrency }) => {
          const upstream = parts.upstreams.get(name);
          if (!upstream) throw new TypeError(`no upstream was built for ${name}`);
          return [name, { upstream, policy: new Policy(tags), queue: new PQueue({ concurrency }) }];
        }),
      ),
    );
    const negatives = new Negatives(now);
    const ttlMs = (target: { upstream: string }): number =>
      config.upstreams[target.upstream]?.tags.ttlMs ?? 0;
    this.#registries = registries;
    this.downloads = new Downloads({ registries, blobs, catalog, timing, metrics, log, now });
    this.blobs = new Blobs({
      registries,
      blobs,
      catalog,
      negatives,
      flight,
      metrics,
      log,
      downloads: this.downloads,
    });
    this.listings = new Listings({ registries, catalog, flight, now });
    const shelf = new ManifestShelf({ catalog, blobs, log, now });
    this.manifests = new Manifests({
      registries,
      shelf,
      tags: new TagBook({ catalog, log, now, ttlMs }),
      negatives,
      flight,
      fallbackTags: new FallbackTags({ listings: this.listings, shelf }),
      now,
    });
  }

  /** Questions to upstreams that are still open. */
  get openQuestions(): number {
    return this.#flight.size;
  }

  /** How each upstream does, in the order of the configuration. */
  get upstreams(): NamedStatus[] {
    return this.#registries.status;
  }

  /** Stops what runs, keeping partial downloads. The store is the caller's to close, afterwards. */
  async close(): Promise<void> {
    const downloads = this.downloads.close();
    await this.#registries.close();
    await downloads;
    await this.#flight.idle();
  }
}
