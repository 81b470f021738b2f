import { LRUCache } from 'lru-cache';
import { LargeDocuments, SMALL_BYTES } from '../net/exchange.ts';
import type { Reader } from '../oci/content.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, ManifestError, parseManifest } from '../oci/manifest.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { Log } from '../observe/log.ts';
import { Traces } from '../observe/traces.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { BlobStore } from '../store/files/blob-store.ts';
import { type BlobRecord, type Catalog, type ManifestEntry } from '../store/catalog/catalog.ts';
import { describeManifest } from '../store/catalog/describe-manifest.ts';
import { faultOf, type Budget, type Health } from '../store/care/care.ts';
import type { ManifestBody } from '../upstream/upstream.ts';

/** What a HEAD tells of a manifest. */
export interface ManifestStat {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/** A verified manifest, ready to be sent. */
export interface HeldManifest extends ManifestStat {
  /**
   * In memory or, of a large one that is kept, a reader of its file for each who asks, unless it was
   * evicted meanwhile.
   */
  readonly body: Buffer | (() => Promise<Reader | undefined>);
  readonly storedAt: number;
}

export interface RecalledManifest extends HeldManifest {
  readonly body: Buffer;
}

export interface HeldManifestsParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly budget: Budget;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
}

/** A client waits for the manifest meanwhile. */
const PATIENCE_MS = 500;
/** Whoever sends them has as many beside. */
const MAX_HOT_BYTES = 32 * 1024 * 1024;
/** What one manifest takes in memory beside its bytes. */
const ENTRY_BYTES = 500;

/**
 * Held manifests: the catalog says whose they are, the store has the bytes. The hot ones stay in memory,
 * up to 64 KiB each; a larger one is read once to verify it, and then by each client at its own pace.
 */
export class HeldManifests {
  readonly #parts: HeldManifestsParts;
  readonly #hot = new LRUCache<Digest, Buffer>({
    maxSize: MAX_HOT_BYTES,
    sizeCalculation: (bytes) => ENTRY_BYTES + bytes.length,
  });

  readonly #large = new LargeDocuments();

  /** Records whose files were found damaged. */
  readonly #told = new WeakSet<BlobRecord>();

  constructor(parts: HeldManifestsParts) {
    this.#parts = parts;
  }

  /** `undefined` unless this repository is known to have it and the bytes are whole. */
  async find(target: Target, digest: Digest): Promise<HeldManifest | undefined> {
    const record = await this.#parts.catalog.findManifest(target, digest);
    if (!record) return undefined;
    const body = await this.#body(target, digest, record);
    return body && { ...record, digest, body };
  }

  /** As `find`, where all of it is in memory; `undefined` says nothing. */
  recall(target: Target, digest: Digest): RecalledManifest | undefined {
    const record = this.#parts.catalog.recent.manifest(target, digest);
    if (!record || record.size > SMALL_BYTES) return undefined;
    const body = this.#hot.get(digest);
    return body && { ...record, digest, body };
  }

  async #body(
    target: Target,
    digest: Digest,
    { size }: { size: number },
  ): Promise<HeldManifest['body'] | undefined> {
    if (size <= SMALL_BYTES) return this.#bytes(target, digest);
    const isWhole = await this.#found(target, digest, async () => this.#verify(digest));
    return isWhole ? async () => this.#open(digest) : undefined;
  }

  /** One chunk of a few is in memory at a time. */
  async #verify(digest: Digest): Promise<true | undefined> {
    const release = await this.#large.enter();
    try {
      const blob = await this.#parts.blobs.find(digest);
      return (await blob?.verify()) || undefined;
    } finally {
      release();
    }
  }

  async #open(digest: Digest): Promise<Reader | undefined> {
    return (await this.#parts.blobs.find(digest))?.open();
  }

  /** Why it was here and is no more. */
  whyLost(digest: Digest): ReturnType<BlobStore['whyLost']> {
    return this.#parts.blobs.whyLost(digest);
  }

  /** Whether the store has something of this digest that could be a manifest, for any repository. */
  async mayHold(digest: Digest): Promise<boolean> {
    const record = await this.#parts.catalog.findBlob(digest);
    return record !== undefined && record.size <= MAX_MANIFEST_BYTES;
  }

  /** Bytes of any repository read as a manifest; `undefined` when they are none. */
  async readBody(
    target: Target,
    digest: Digest,
    mediaType: string,
  ): Promise<ManifestBody | undefined> {
    const size = (await this.#parts.catalog.findBlob(digest))?.size ?? 0;
    const release = size > SMALL_BYTES ? await this.#large.enter() : undefined;
    try {
      const bytes = await this.#bytes(target, digest);
      if (bytes) {
        const manifest = parseManifest(bytes, mediaType);
        return { digest, bytes, manifest, ...(release && { release }) };
      }
      release?.();
      return undefined;
    } catch (error) {
      release?.();
      if (error instanceof ManifestError) return undefined;
      throw error;
    }
  }

  /**
   * Keeps a verified manifest, bytes first. A store that fails takes nothing from the client: the
   * manifest is served all the same, and `isKept` is false.
   */
  async put(
    target: Target,
    body: ManifestBody,
    wanted: Pick<ManifestEntry, 'tags' | 'isPulled'>,
  ): Promise<{ held: HeldManifest; isKept: boolean }> {
    return Traces.span('commit', async () => this.#put(target, body, wanted));
  }

  async #put(
    target: Target,
    body: ManifestBody,
    { tags, isPulled = true }: Pick<ManifestEntry, 'tags' | 'isPulled'>,
  ): Promise<{ held: HeldManifest; isKept: boolean }> {
    const { catalog, blobs, budget, health, log, now } = this.#parts;
    const { digest, bytes, manifest } = body;
    const { mediaType } = manifest;
    const storedAt = now();
    const held = { digest, mediaType, size: bytes.length, body: bytes, storedAt };
    const isLarge = bytes.length > SMALL_BYTES;
    try {
      using _ = blobs.lease(digest);
      const received = bytes.length;
      using room = await budget.admit(received, { received, patienceMs: PATIENCE_MS });
      await blobs.writeBytes(digest, bytes);
      room.wrote(received);
      const entry = { ...describeManifest(digest, bytes.length, manifest), tags, isPulled };
      await catalog.recordManifest(target, entry, storedAt);
      health.took(received);
      budget.wake();
    } catch (err) {
      health.refused(err);
      log.error(
        { target: formatTarget(target), digest, ...faultOf(err) },
        'the manifest could not be kept',
      );
      return { held, isKept: false };
    } finally {
      body.release?.();
    }
    if (isLarge) return { held: { ...held, body: async () => this.#open(digest) }, isKept: true };
    this.#hot.set(digest, bytes);
    return { held, isKept: true };
  }

  async #bytes(target: Target, digest: Digest): Promise<Buffer | undefined> {
    const hot = this.#hot.get(digest);
    if (hot) return hot;
    const bytes = await this.#found(target, digest, async () =>
      this.#parts.blobs.readBytes(digest),
    );
    if (bytes && bytes.length <= SMALL_BYTES) this.#hot.set(digest, bytes);
    return bytes;
  }

  /** What is looked for; `undefined` where that is missing or damaged. */
  async #found<Found>(
    target: Target,
    digest: Digest,
    look: () => Promise<Found | undefined>,
  ): Promise<Found | undefined> {
    const { catalog, log, metrics } = this.#parts;
    try {
      // Before the bytes: the record of those that are fetched anew is another one.
      const record = await catalog.findBlob(digest);
      const found = await look();
      // Told and counted once, however many find it.
      if (found === undefined && record && !this.#told.has(record)) {
        this.#told.add(record);
        log.warn({ digest }, 'a held manifest is missing or damaged');
        metrics.integrityFailures.inc({ upstream: target.upstream, where: 'store' });
        await catalog.forgetBlob(digest);
      }
      return found;
    } catch (err) {
      // What the disk cannot give is fetched anew.
      log.error({ digest, err }, 'a held manifest could not be read');
      return undefined;
    }
  }
}
