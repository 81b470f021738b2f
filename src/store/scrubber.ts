import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import type { Log } from '../observe/log.ts';
import type { BlobStore } from './blob-store.ts';
import type { Catalog } from './catalog.ts';
import type { BlobRecord } from './tables.ts';

export type Fault = 'damaged' | 'truncated' | 'missing' | 'unreadable';

export interface Damage {
  readonly digest: Digest;
  readonly fault: Fault;
  /** `upstream/repository` of what lists it. */
  readonly images: readonly string[];
  readonly healed: boolean;
  /** Why it could not be fetched again. */
  readonly reason?: string;
}

export interface Progress {
  readonly startedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly totalBlobs: number;
  readonly totalBytes: number;
  readonly damaged: number;
}

export interface Report {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly Damage[];
}

export interface ScrubberParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  /** Fetches it again. Resolves with why that was not possible, or nothing. */
  readonly heal: (digest: Digest) => Promise<string | undefined>;
  readonly found: (damage: Damage) => void;
  readonly log: Log;
  readonly now: () => number;
  /** Waits; a test lets time pass. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Every blob is read once in this time, at this pace. */
const PERIOD_MS = 7 * 24 * 3_600_000;
const BYTES_PER_SECOND = 20 * 1024 * 1024;
const BETWEEN_PASSES_MS = 3_600_000;
/** After the start, when other work comes first. */
const FIRST_PASS_MS = 60_000;

const realPause = async (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal, ref: false });

/**
 * Reads what is held and compares it with its digests: all of it when asked to, and in the
 * background at a pace that nobody notices whatever was not read for a week. What is wrong goes
 * into quarantine, out of the catalog, and is fetched again.
 */
export class Scrubber {
  readonly #parts: ScrubberParts;
  readonly #pause: NonNullable<ScrubberParts['pause']>;
  readonly #stop = new AbortController();
  #background: Promise<void> = Promise.resolve();
  #verifying: Promise<void> | undefined;
  #progress: Progress | undefined;
  #last: Report | undefined;

  constructor(parts: ScrubberParts) {
    this.#parts = parts;
    this.#pause = parts.pause ?? realPause;
  }

  get state(): { readonly running?: Progress; readonly last?: Report } {
    return {
      ...(this.#progress && { running: this.#progress }),
      ...(this.#last && { last: this.#last }),
    };
  }

  /** Begins the background scrub. */
  start(): void {
    this.#background = this.#run().catch((err: unknown) => {
      if (!this.#stop.signal.aborted) this.#parts.log.error({ err }, 'the scrub ended');
    });
  }

  /** Begins to verify all that is held, unless that runs already. */
  verify(): void {
    this.#verifying ??= this.#verifyAll()
      .catch((err: unknown) => {
        if (!this.#stop.signal.aborted) this.#parts.log.error({ err }, 'the verification ended');
      })
      .finally(() => {
        this.#progress = undefined;
        this.#verifying = undefined;
      });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#background;
    await this.#verifying;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    await this.#pause(FIRST_PASS_MS, signal);
    for (;;) {
      await this.#pass().catch((err: unknown) => {
        signal.throwIfAborted();
        this.#parts.log.error({ err }, 'the scrub is interrupted');
      });
      await this.#pause(BETWEEN_PASSES_MS, signal);
    }
  }

  async #pass(): Promise<void> {
    const { catalog, now } = this.#parts;
    const { signal } = this.#stop;
    for await (const [digest, record] of catalog.listBlobs()) {
      if (now() - (record.verifiedAt ?? record.storedAt) < PERIOD_MS) continue;
      await this.#check(digest, record, (bytes) =>
        this.#pause((bytes / BYTES_PER_SECOND) * 1000, signal),
      );
    }
  }

  async #verifyAll(): Promise<void> {
    const { catalog, now, log } = this.#parts;
    await catalog.counted;
    const { blobs: totalBlobs, bytes: totalBytes } = catalog.usage;
    const startedAt = now();
    const damaged: Damage[] = [];
    let [blobs, bytes] = [0, 0];
    const tell = (): void => {
      const counts = { blobs, bytes, totalBlobs, totalBytes, damaged: damaged.length };
      this.#progress = { startedAt, ...counts };
    };
    tell();
    for await (const [digest, record] of catalog.listBlobs()) {
      if (this.#stop.signal.aborted) return;
      const damage = await this.#check(digest, record, (read) => {
        this.#stop.signal.throwIfAborted();
        bytes += read;
        tell();
      });
      blobs += 1;
      if (damage) damaged.push(damage);
      tell();
    }
    this.#last = { startedAt, endedAt: now(), blobs, bytes, damaged };
    log.info({ blobs, bytes, damaged: damaged.length }, 'verified all that is held');
  }

  async #check(
    digest: Digest,
    record: BlobRecord,
    onRead: (bytes: number) => Promise<void> | void,
  ): Promise<Damage | undefined> {
    const fault = await this.#examine(digest, record, onRead);
    if (!fault) return undefined;
    const { catalog, heal, found, log } = this.#parts;
    // Evicted or replaced while it was read: nobody's damage.
    if ((await catalog.findBlob(digest)) === undefined) return undefined;
    const images = await this.#imagesOf(digest);
    const reason =
      fault === 'unreadable'
        ? 'the disk does not give it just now'
        : await this.#forget(digest).then(async () => heal(digest));
    const damage: Damage = {
      digest,
      fault,
      images,
      healed: reason === undefined,
      ...(reason !== undefined && { reason }),
    };
    log.warn(damage, 'a held blob is damaged');
    found(damage);
    return damage;
  }

  async #examine(
    digest: Digest,
    record: BlobRecord,
    onRead: (bytes: number) => Promise<void> | void,
  ): Promise<Fault | undefined> {
    const { blobs, catalog, now } = this.#parts;
    try {
      const held = await blobs.find(digest, undefined, async (changedAt) =>
        catalog.updateBlob(digest, { changedAt, verifiedAt: now() }),
      );
      if (!held) return 'missing';
      if (held.size !== record.size) {
        await blobs.quarantine(digest);
        return 'truncated';
      }
      return (await held.verify(onRead)) ? undefined : 'damaged';
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing';
      return 'unreadable';
    }
  }

  async #imagesOf(digest: Digest): Promise<string[]> {
    const images = new Set<string>();
    for await (const { target } of this.#parts.catalog.graph.holders(digest)) {
      images.add(`${target.upstream}/${target.repository}`);
    }
    return [...images];
  }
}
