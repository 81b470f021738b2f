import { setTimeout as sleep } from 'node:timers/promises';
import type { Damage, VerifyProgress, VerifyReport, VerifyState } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Log } from '../../observe/log.ts';
import type { BlobStore } from '../files/blob-store.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { ageOf } from '../../time/clock.ts';

export interface ScrubberParts {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  /**
   * Fetches it again. Resolves with why that was not possible, or nothing. The signal tells that
   * nobody waits for it any more.
   */
  readonly heal: (digest: Digest, signal: AbortSignal) => Promise<string | undefined>;
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
  #progress: VerifyProgress | undefined;
  #last: VerifyReport | undefined;
  readonly #unhealed = new Map<Digest, Damage>();

  constructor(parts: ScrubberParts) {
    this.#parts = parts;
    this.#pause = parts.pause ?? realPause;
  }

  get state(): VerifyState {
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

  /** Waits for the piece of a file that is being read, and for nothing that is fetched. */
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
    await this.#retry();
    for await (const [digest, record] of catalog.listBlobs()) {
      const age = ageOf(record.verifiedAt ?? record.storedAt, { wall: now });
      if (age !== undefined && age < PERIOD_MS) continue;
      await this.#check(digest, (bytes) => this.#pause((bytes / BYTES_PER_SECOND) * 1000, signal));
    }
  }

  async #verifyAll(): Promise<void> {
    const { catalog, now, log } = this.#parts;
    const startedAt = now();
    const damaged: Damage[] = [];
    let [blobs, bytes] = [0, 0];
    const tell = (): void => {
      const { blobs: totalBlobs, bytes: totalBytes } = catalog.usage;
      const counts = { blobs, bytes, totalBlobs, totalBytes, damaged: damaged.length };
      this.#progress = { startedAt, ...counts };
    };
    // Before anything is awaited, so that the caller learns that it runs.
    tell();
    await catalog.counted;
    for (const damage of await this.#retry()) damaged.push(damage);
    for await (const [digest] of catalog.listBlobs()) {
      if (this.#stop.signal.aborted) return;
      const damage = await this.#check(digest, (read) => {
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
    onRead: (bytes: number) => Promise<void> | void,
  ): Promise<Damage | undefined> {
    const finding = await this.#examine(digest, onRead);
    if (!finding) return undefined;
    const { blobs, catalog, found, log } = this.#parts;
    const isThere = await blobs.find(digest).then(Boolean, () => finding.fault === 'unreadable');
    // A blob that was evicted or replaced while it was read is not damaged.
    if ((await catalog.findBlob(digest)) === undefined) return undefined;
    if (isThere && finding.fault !== 'unreadable') return undefined;
    if (!isThere) await this.#forget(digest);
    const images = await this.#imagesOf(digest);
    const reason = isThere ? finding.reason : await this.#heal(digest);
    const damage = describe({ digest, fault: finding.fault, images }, reason);
    if (!damage.healed && !isThere) this.#unhealed.set(digest, damage);
    log.warn(damage, 'a held blob is damaged');
    found(damage);
    return damage;
  }

  /** What could not be fetched when it was found damaged, as far as anything still needs it. */
  async #retry(): Promise<Damage[]> {
    const retried: Damage[] = [];
    const waiting = [...this.#unhealed];
    for (const [digest, { fault }] of waiting) {
      this.#stop.signal.throwIfAborted();
      this.#unhealed.delete(digest);
      const { catalog, log } = this.#parts;
      const images = await this.#imagesOf(digest);
      const isNeeded = images.length > 0 || (await catalog.linked(digest)).length > 0;
      // A client may have asked for it and so brought it back.
      if (!isNeeded || (await catalog.findBlob(digest))) continue;
      const damage = describe({ digest, fault, images }, await this.#heal(digest));
      if (damage.healed) log.info(damage, 'a damaged blob is whole again');
      else this.#unhealed.set(digest, damage);
      retried.push(damage);
    }
    return retried;
  }

  async #heal(digest: Digest): Promise<string | undefined> {
    const { signal } = this.#stop;
    const stopped = Promise.withResolvers<never>();
    const stop = (): void => stopped.reject(signal.reason);
    signal.addEventListener('abort', stop);
    try {
      // A whole download over a slow link, which the close does not wait for.
      return await Promise.race([this.#parts.heal(digest, signal), stopped.promise]);
    } catch (error) {
      signal.throwIfAborted();
      return String(error);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #forget(digest: Digest): Promise<void> {
    const { catalog, log } = this.#parts;
    try {
      await catalog.forgetBlob(digest);
    } catch (err) {
      log.error({ digest, err }, 'the catalog could not be written');
    }
  }

  async #examine(
    digest: Digest,
    onRead: (bytes: number) => Promise<void> | void,
  ): Promise<{ fault: Damage['fault']; reason?: string } | undefined> {
    const { blobs, catalog } = this.#parts;
    try {
      // The record of the listing may be old by now.
      const record = await catalog.findBlob(digest);
      if (!record) return undefined;
      const file = await blobs.statBlob(digest);
      // A file of another length goes into quarantine here.
      const held = await blobs.find(
        digest,
        { size: record.size },
        { verified: async (changedAt) => this.#verified(digest, changedAt) },
      );
      if (!held) return { fault: file ? 'truncated' : 'missing' };
      return (await held.verify(onRead)) ? undefined : { fault: 'damaged' };
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { fault: 'missing' };
      return { fault: 'unreadable', reason: String(error) };
    }
  }

  /** A catalog that cannot write says nothing about the blob. */
  async #verified(digest: Digest, changedAt: number): Promise<void> {
    const { catalog, log, now } = this.#parts;
    try {
      await catalog.updateBlob(digest, { changedAt, verifiedAt: now() });
    } catch (err) {
      log.error({ digest, err }, 'the catalog could not be written');
    }
  }

  async #imagesOf(digest: Digest): Promise<string[]> {
    const images = new Set<string>();
    for await (const { target } of this.#parts.catalog.holders(digest)) {
      images.add(`${target.upstream}/${target.repository}`);
    }
    return [...images];
  }
}

function describe(
  about: Pick<Damage, 'digest' | 'fault' | 'images'>,
  reason: string | undefined,
): Damage {
  return { ...about, healed: reason === undefined, ...(reason !== undefined && { reason }) };
}
