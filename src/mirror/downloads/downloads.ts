import type { Content } from '../../oci/content.ts';
import type { Digest } from '../../oci/digest.ts';
import { IntegrityError } from '../../oci/integrity-error.ts';
import { formatTarget, isSameTarget, type Target } from '../../oci/reference.ts';
import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import { StoredBlob, type BlobStore } from '../../store/files/blob-store.ts';
import type { Catalog } from '../../store/catalog/catalog.ts';
import { NoRoomError, type Budget, type Health } from '../../store/care/care.ts';
import { chainLength } from '../../net/via.ts';
import type { Timing } from '../../net/timing.ts';
import { isInteractive } from '../../upstream/demand.ts';
import { SharedDemand, type DownloadDemand } from './demand.ts';
import { DirectReader } from './direct-reader.ts';
import { Download } from './download.ts';
import type { DownloadState } from './growing.ts';
import type { Possession, Proof } from '../possession.ts';
import type { Upstreams } from '../upstreams.ts';
import type { TransferSource } from './transfer.ts';

export interface DownloadsParts {
  readonly upstreams: Upstreams;
  readonly possession: Possession;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly budget: Budget;
  readonly health: Health;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly now: () => number;
}

export interface Joined {
  readonly content: StoredBlob | Download;
  /** False for whoever began the download. */
  readonly joined: boolean;
}

interface Entry {
  readonly target: Target;
  readonly demand: SharedDemand;
  /** A stored blob when an earlier download has brought it meanwhile. */
  readonly opening: Promise<StoredBlob | Download>;
  /** Of the request that began it. */
  readonly chainLength: number;
  /** Its upstream has said whether it has the blob. */
  isAnswered: boolean;
}

/**
 * The running downloads, at most one for a digest at an upstream: a slow or lying upstream neither
 * holds up nor feeds the clients of another one. They meet at the commit.
 */
export class Downloads {
  readonly #parts: DownloadsParts;
  readonly #running = new Map<string, Entry>();
  /** Each with the promise of its end, which never rejects. */
  readonly #downloads = new Map<Download, Promise<void>>();
  #closed = false;

  constructor(parts: DownloadsParts) {
    this.#parts = parts;
  }

  /** Downloads that run or wait for their turn. */
  get size(): number {
    return this.#running.size;
  }

  /** The repository of the same upstream that the running download of the digest was begun for. */
  targetOf(target: Target, digest: Digest): Target | undefined {
    return this.#running.get(keyOf(target, digest))?.target;
  }

  /**
   * Whether what runs waits for its upstream and was begun for a shorter chain than this request's.
   * Where two mirrors have each other as upstream it may be waiting for this very request.
   */
  mayWaitForUs(target: Target, digest: Digest): boolean {
    const running = this.#running.get(keyOf(target, digest));
    return running !== undefined && !running.isAnswered && running.chainLength < chainLength();
  }

  /**
   * The running download of the digest, or a new one, once its upstream has answered; `undefined`
   * when the upstream has no such blob. The caller has made sure that the target may read what
   * another target's download brings. `again`: the joined download failed, look once more.
   * `isForeign`: what is held is another upstream's and does not count.
   */
  async join(
    target: Target,
    digest: Digest,
    wanted: DownloadDemand,
    { isForeign = false }: { isForeign?: boolean } = {},
  ): Promise<Joined | undefined | 'again'> {
    const running = this.#running.get(keyOf(target, digest));
    const joined = running !== undefined;
    if (running) {
      running.demand.join(wanted);
      this.#parts.upstreams.of(running.target).queue.refill();
    }
    const { opening } = running ?? this.#begin(target, digest, { wanted, isForeign });
    const content = await opening;
    if (content instanceof StoredBlob) {
      // It came after the client's look into the store: whether it may be read was not asked.
      return isInteractive(wanted) ? 'again' : { content, joined };
    }
    // Whoever joined after the failure, or for another repository, begins a download of its own.
    const isOwn = !joined || (isSameTarget(target, content.target) && !content.hasFailed);
    try {
      if ((isOwn || !content.hasFailed) && (await content.started)) return { content, joined };
      if (isOwn) return undefined;
    } catch (error) {
      if (isOwn) throw error;
    }
    await this.#downloads.get(content);
    return 'again';
  }

  /**
   * Holds a blob that no client waits for. False when the upstream has none. Rejects when it could
   * not be had or kept.
   */
  async hold(target: Target, digest: Digest, wanted: DownloadDemand): Promise<boolean> {
    const { blobs, catalog } = this.#parts;
    const known = await catalog.findBlob(digest);
    const held = known && (await blobs.find(digest, known));
    // Perhaps for another repository, so no link to this one is recorded.
    const proof = held && (await this.#prove(target, held, wanted));
    if (proof === 'shown') return true;
    if (proof === 'absent') return false;
    const isForeign = proof === 'unshown';
    const joined = await this.join(target, digest, wanted, { isForeign });
    if (joined === 'again') return this.hold(target, digest, wanted);
    if (!joined) return false;
    const { content } = joined;
    if (content instanceof StoredBlob) return true;
    await this.#downloads.get(content);
    if (content.failure instanceof Error) throw content.failure;
    return true;
  }

  /** Between upstreams, so that what is held can be served when this one is silent. */
  async #prove(target: Target, held: StoredBlob, { priority }: DownloadDemand): Promise<Proof> {
    const { catalog, health, possession } = this.#parts;
    const { digest } = held;
    if ((await catalog.findLink(target, digest)) === 'proven') return 'shown';
    if ((await possession.originOf(digest, target)) !== 'foreign') return 'shown';
    const proof = await possession.prove(target, held, { priority });
    if (proof === 'shown') await health.recorded(catalog.recordLink(target, digest));
    return proof;
  }

  /** A blob straight from the upstream, verified and not kept. */
  passThrough(target: Target, digest: Digest, size: number | undefined): Content {
    const source = this.#sourceOf(target, digest);
    return {
      digest,
      size,
      isVerified: false,
      open: async (range = { start: 0, end: size ?? Infinity }) =>
        new DirectReader({ source, range }),
    };
  }

  /** Stops those that no client asked for, and keeps their partial files. */
  abortBackground(): void {
    for (const { demand } of this.#running.values()) if (!isInteractive(demand)) demand.abort();
  }

  /** Stops all downloads and keeps their partial files. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const download of this.#downloads.keys()) download.abort();
    await Promise.allSettled([...this.#running.values()].map(({ opening }) => opening));
    await Promise.all(this.#downloads.values());
  }

  #begin(
    target: Target,
    digest: Digest,
    { wanted, isForeign }: { wanted: DownloadDemand; isForeign: boolean },
  ): Entry {
    const demand = new SharedDemand(wanted);
    const opening = isForeign
      ? Promise.resolve(this.#launch(target, digest, demand))
      : this.#open(target, digest, demand);
    const entry = { target, demand, opening, chainLength: chainLength(), isAnswered: false };
    this.#running.set(keyOf(target, digest), entry);
    void opening
      .then(async (content) => content instanceof StoredBlob || content.started)
      .catch(() => undefined)
      .then(() => (entry.isAnswered = true));
    return entry;
  }

  async #open(
    target: Target,
    digest: Digest,
    demand: SharedDemand,
  ): Promise<StoredBlob | Download> {
    try {
      // An earlier download may have ended since the caller looked into the store.
      const { blobs, catalog, health, now } = this.#parts;
      using _ = blobs.lease(digest);
      const known = await catalog.findBlob(digest);
      // A blob that the disk cannot give is fetched anew.
      const held = await blobs.find(digest, known).catch(() => undefined);
      if (!held) return this.#launch(target, digest, demand);
      const record = { size: held.size, storedAt: now() };
      // Without a link: the file proves nothing about this repository.
      if (!known) await health.recorded(catalog.adoptBlob(digest, record));
      this.#running.delete(keyOf(target, digest));
      return held;
    } catch (error) {
      this.#running.delete(keyOf(target, digest));
      throw error;
    }
  }

  #launch(target: Target, digest: Digest, demand: SharedDemand): Download {
    const { queue } = this.#parts.upstreams.of(target);
    const source = this.#sourceOf(target, digest);
    const download = new Download({ ...this.#parts, target, source, demand, queue });
    if (this.#closed) download.abort();
    this.#downloads.set(download, this.#run(download));
    return download;
  }

  async #run(download: Download): Promise<void> {
    const { downloadsInFlight } = this.#parts.metrics;
    const { upstream } = download.target;
    downloadsInFlight.inc({ upstream });
    await download.run();
    this.#running.delete(keyOf(download.target, download.digest));
    this.#downloads.delete(download);
    downloadsInFlight.dec({ upstream });
    if (!this.#closed) this.#report(download);
  }

  #report({ target, digest, state, failure }: Download): void {
    const { metrics, health, log } = this.#parts;
    if (failure === undefined) return;
    if (isOfStore(failure, state)) health.refused(failure);
    if (failure instanceof IntegrityError) {
      metrics.integrityFailures.inc({ upstream: target.upstream, where: 'download' });
    }
    log.warn({ target: formatTarget(target), digest, state, err: failure }, 'download');
  }

  #sourceOf(target: Target, digest: Digest): TransferSource {
    const { upstreams, timing, metrics } = this.#parts;
    const { upstream } = upstreams.of(target);
    return { upstream, repository: target.repository, digest, timing, metrics };
  }
}

function keyOf({ upstream }: Target, digest: Digest): string {
  return `${upstream} ${digest}`;
}

/** Whether the store failed: a `finished` download was served and could not be recorded. */
function isOfStore(failure: unknown, state: DownloadState): boolean {
  return failure instanceof NoRoomError || state === 'unstored' || state === 'finished';
}
