import { setTimeout as sleep } from 'node:timers/promises';
import PQueue from 'p-queue';
import type { Damage, VerifyProgress, VerifyReport, VerifyState } from '../../api/store-api.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget } from '../../oci/reference.ts';
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
  /** Told of each blob that was read, with its bytes, also where it is wrong. */
  readonly read?: (bytes: number) => void;
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

/** Most damaged blobs that are tried again; others wait for a client that asks for them. */
const MAX_UNHEALED = 10_000;

const realPause = async (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal, ref: false });

/**
 * Reads what is held and compares it with its digests: all of it when asked to, and in the
 * background at a pace that nobody notices whatever was not read for a week. What is wrong goes
 * into quarantine, out of the catalog, and is fetched again beside the reading: one blob after the
 * other of the same upstreams, so that a slow one holds up none of the others. What could not be
 * fetched comes again behind those with the next pass.
 */
export class Scrubber {
  readonly #parts: ScrubberParts;
  readonly #pause: NonNullable<ScrubberParts['pause']>;
  readonly #stop = new AbortController();
  #background: Promise<void> = Promise.resolve();
  #verifying: Promise<void> | undefined;
  #progress: VerifyProgress | undefined;
  #last: VerifyReport | undefined;
  /** One queue for each set of upstreams that have a blob. */
  readonly #lanes = new Map<string, PQueue>();
  readonly #unhealed = new Map<Digest, About>();

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
    await Promise.all([...this.#lanes.values()].map(async (lane) => lane.onIdle()));
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
    void (await this.#retry());
    for await (const [digest, record] of catalog.listBlobs()) {
      const age = ageOf(record.verifiedAt ?? record.storedAt, { wall: now });
      if (age !== undefined && age < PERIOD_MS) continue;
      await this.#check(digest, (bytes) => this.#pause((bytes / BYTES_PER_SECOND) * 1000, signal));
    }
  }

  async #verifyAll(): Promise<void> {
    const { catalog, now, log } = this.#parts;
    const startedAt = now();
    const healing: Promise<Damage>[] = [];
    let [blobs, bytes] = [0, 0];
    const tell = (): void => {
      const { blobs: totalBlobs, bytes: totalBytes } = catalog.usage;
      const counts = { blobs, bytes, totalBlobs, totalBytes, damaged: healing.length };
      this.#progress = { startedAt, ...counts };
    };
    // Before anything is awaited, so that the caller learns that it runs.
    tell();
    await catalog.counted;
    healing.push(...(await this.#retry()));
    for await (const [digest] of catalog.listBlobs()) {
      if (this.#stop.signal.aborted) return;
      const found = await this.#check(digest, (read) => {
        this.#stop.signal.throwIfAborted();
        bytes += read;
        tell();
      });
      blobs += 1;
      if (found) healing.push(found.healing);
      tell();
    }
    const damaged = await Promise.all(healing);
    const endedAt = now();
    this.#last = { startedAt, endedAt, blobs, bytes, damaged };
    await catalog
      .recordFigure('verified', endedAt)
      .catch((err: unknown) => log.error({ err }, 'the catalog could not be written'));
    log.info({ blobs, bytes, damaged: damaged.length }, 'verified all that is held');
  }

  async #check(
    digest: Digest,
    onRead: (bytes: number) => Promise<void> | void,
  ): Promise<{ healing: Promise<Damage> } | undefined> {
    let bytes = 0;
    const finding = await this.#examine(digest, (read) => {
      bytes += read;
      return onRead(read);
    });
    this.#parts.read?.(bytes);
    if (!finding) return undefined;
    const { blobs, catalog, found, log } = this.#parts;
    const isThere = await blobs.find(digest).then(Boolean, () => finding.fault === 'unreadable');
    // A blob that was evicted or replaced while it was read is not damaged.
    if ((await catalog.findBlob(digest)) === undefined) return undefined;
    if (isThere && finding.fault !== 'unreadable') return undefined;
    if (!isThere) await this.#forget(digest);
    const { images, upstreams } = await this.#knownTo(digest);
    const about = { digest, fault: finding.fault, images };
    const told = (damage: Damage): Damage => {
      log.warn(damage, 'a held blob is damaged');
      found(damage);
      return damage;
    };
    if (isThere) return { healing: Promise.resolve(told(describe(about, finding.reason))) };
    return { healing: this.#heal(about, { upstreams, told }) };
  }

  /** What could not be fetched when it was found damaged, as far as anything still needs it. */
  async #retry(): Promise<Promise<Damage>[]> {
    const { catalog, log } = this.#parts;
    const retried: Promise<Damage>[] = [];
    // What cannot be fetched now either is put back meanwhile.
    const waiting = [...this.#unhealed];
    for (const [digest, { fault }] of waiting) {
      this.#stop.signal.throwIfAborted();
      this.#unhealed.delete(digest);
      const { images, upstreams } = await this.#knownTo(digest);
      // A client may have asked for it and so brought it back.
      if (upstreams.length === 0 || (await catalog.findBlob(digest))) continue;
      const told = (damage: Damage): Damage => {
        if (damage.healed) log.info(damage, 'a damaged blob is whole again');
        return damage;
      };
      retried.push(this.#heal({ digest, fault, images }, { upstreams, told }));
    }
    return retried;
  }

  /** Fetches a blob after the others of the same upstreams. */
  async #heal(
    about: About,
    { upstreams, told }: { upstreams: readonly string[]; told: (damage: Damage) => Damage },
  ): Promise<Damage> {
    const name = upstreams.join(' ');
    const lane = this.#lanes.get(name) ?? new PQueue({ concurrency: 1 });
    this.#lanes.set(name, lane);
    const healing = lane.add(async () => {
      const damage = describe(about, await this.#fetch(about.digest));
      if (!damage.healed && this.#unhealed.size < MAX_UNHEALED) {
        this.#unhealed.set(about.digest, about);
      }
      return told(damage);
    });
    // The pass does not wait for it; it rejects at the close alone.
    healing.catch(() => undefined);
    return healing;
  }

  async #fetch(digest: Digest): Promise<string | undefined> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
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

  /** The repositories whose manifests list it, and the upstreams of all that have it. */
  async #knownTo(digest: Digest): Promise<{ images: string[]; upstreams: string[] }> {
    const { catalog } = this.#parts;
    const images = new Set<string>();
    const upstreams = new Set<string>();
    for await (const { target } of catalog.holders(digest)) {
      images.add(formatTarget(target));
      upstreams.add(target.upstream);
    }
    for (const { upstream } of await catalog.linked(digest)) upstreams.add(upstream);
    return { images: [...images], upstreams: [...upstreams].toSorted() };
  }
}

type About = Pick<Damage, 'fault' | 'images'> & { readonly digest: Digest };

function describe(about: About, reason: string | undefined): Damage {
  return { ...about, healed: reason === undefined, ...(reason !== undefined && { reason }) };
}
