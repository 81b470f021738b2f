import { chainLength } from '../../net/via.ts';
import { MIN_BYTES_PER_SECOND, type Timing } from '../../net/timing.ts';
import { Traces, type TraceContext } from '../../observe/traces.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatTarget, isSameTarget, type Target } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { StoredBlob } from '../../store/files/blob-store.ts';
import { INTERACTIVE, isInteractive } from '../../upstream/demand.ts';
import { sizeInManifests, type Possession, type Evidence } from '../possession.ts';
import { TEXTS } from '../texts.ts';
import type { Upstreams } from '../upstreams.ts';
import { SharedDemand, type DownloadDemand, type Interest, WaitLimit } from './demand.ts';
import type { DepositParts } from './deposit.ts';
import { Download } from './download.ts';
import { Outcomes, type OutcomesParts } from './outcomes.ts';
import type { Passage } from './passage.ts';

export interface DownloadsParts extends DepositParts, OutcomesParts {
  readonly upstreams: Upstreams;
  readonly possession: Possession;
  readonly timing: Timing;
}

export interface Joined<Content = StoredBlob | Download> {
  readonly content: Content;
  /** False for whoever began the download. */
  readonly joined: boolean;
  /** The download counts as wanted until it is disposed of. */
  readonly interest: Interest;
}

/** How a download is to be joined. */
export interface JoinOptions {
  /** What is held is another upstream's and does not count. */
  readonly isForeign?: boolean;
  /** When a joined download turns out to be silent, one new attempt is shared by all who joined it. */
  readonly isSecondTry?: boolean;
}

/** What makes a download anew. */
interface Beginning {
  readonly isForeign: boolean;
  readonly unstorable?: Error;
  readonly knownSize?: number | undefined;
}

interface Entry {
  readonly key: string;
  readonly target: Target;
  readonly digest: Digest;
  readonly demand: SharedDemand;
  /** A stored blob when an earlier download has brought it meanwhile. */
  opening: Promise<StoredBlob | Download>;
  /** Of the request that began it. */
  readonly chainLength: number;
  /** In the trace of that request. */
  place?: TraceContext | undefined;
  /** Its upstream has said whether it has the blob. */
  isAnswered: boolean;
}

const SLACK_MS = 1_000;
const NEVER: Promise<never> = Promise.withResolvers<never>().promise;
/**
 * The running downloads, at most one for a digest at an upstream: a slow or lying upstream neither
 * holds up nor feeds the clients of another one. They meet at the commit.
 */
export class Downloads {
  readonly #parts: DownloadsParts;
  readonly #running = new Map<string, Entry>();
  /** Each with the promise of its end, which never rejects. */
  readonly #downloads = new Map<Download, Promise<void>>();
  readonly #outcomes: Outcomes;
  readonly #passages = new Set<Passage>();
  #closed = false;

  constructor(parts: DownloadsParts) {
    this.#parts = parts;
    this.#outcomes = new Outcomes(parts);
  }

  /** Downloads that run or wait for their turn. */
  get size(): number {
    // One that gave way to another goes on for those whom it feeds.
    return Math.max(this.#running.size, this.#downloads.size);
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
   * What runs for the digest, once its upstream has answered, for who only looks: it counts as nobody's
   * wish. `undefined` when it came to nothing.
   */
  async peek(target: Target, digest: Digest): Promise<StoredBlob | Download | undefined> {
    try {
      const content = await this.#running.get(keyOf(target, digest))?.opening;
      if (!(content instanceof Download)) return content;
      using limit = this.#waitLimit(INTERACTIVE);
      return (await limit.wait(content, content.started)) ? content : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The running download of the digest, or a new one, once its upstream has answered; `undefined`
   * when the upstream has no such blob. The caller has made sure that the target may read what
   * another target's download brings. `again`: the joined download failed, look once more.
   */
  async join(
    target: Target,
    digest: Digest,
    wanted: DownloadDemand,
    { isForeign = false, isSecondTry = false }: JoinOptions = {},
  ): Promise<Joined<Download> | undefined | 'again'> {
    const key = keyOf(target, digest);
    const running = this.#running.get(key);
    const entry = running ?? this.#begin(key, target, digest, { isForeign });
    using limit = this.#waitLimit(wanted);
    using interest = new DisposableStack();
    const own = interest.use(entry.demand.join(wanted));
    const joined = { joined: running !== undefined, interest: own };
    const content = await entry.opening;
    if (running) Traces.link(entry.place);
    // It came after the look into the store, perhaps by another upstream: nobody has asked whose it is.
    if (content instanceof StoredBlob) return 'again';
    // Whoever joined after the failure, or for another repository, begins a download of its own.
    const isOwn = !running || (isSameTarget(target, content.target) && !content.hasFailed);
    try {
      if ((isOwn || !content.hasFailed) && (await limit.wait(content, content.started))) {
        interest.move();
        return { content, ...joined };
      }
      if (isOwn) return undefined;
    } catch (error) {
      const isTriedAgain = running && !isSecondTry && isSilence(error);
      if (isOwn && !isTriedAgain) throw error;
    }
    // One that is passed on to others may go on for long.
    if (content.state === 'unstored') this.#forget(entry);
    else await limit.wait(content, this.#downloads.get(content) ?? Promise.resolve());
    return 'again';
  }

  /** As `join`, of a blob that the store cannot give or take: it is passed on and not kept. */
  async passOn(
    target: Target,
    digest: Digest,
    wanted: DownloadDemand,
    { size, fault }: { size: number | undefined; fault: Error },
  ): Promise<Joined | undefined> {
    const key = `passed on ${formatTarget(target)} ${digest}`;
    const begin = (): Entry =>
      this.#begin(key, target, digest, { isForeign: true, knownSize: size, unstorable: fault });
    const running = this.#running.get(key);
    let entry = running ?? begin();
    if (running) {
      const content = await running.opening;
      if (content instanceof Download && content.hasFailed) entry = begin();
    }
    using limit = this.#waitLimit(wanted);
    const interest = entry.demand.join(wanted);
    const content = await entry.opening;
    try {
      const isThere = content instanceof StoredBlob || (await limit.wait(content, content.started));
      if (isThere) return { content, joined: entry === running, interest };
    } catch (error) {
      interest[Symbol.dispose]();
      throw error;
    }
    interest[Symbol.dispose]();
    return undefined;
  }

  /**
   * How long a client waits in all, for a turn too: a second more than the upstream has for its first
   * byte, so that what the upstream's own silence is told by comes first. Background work has time.
   */
  #waitLimit(wanted: DownloadDemand): WaitLimit {
    const { firstByteMs, attemptsMs } = this.#parts.timing;
    const ms = Math.max(firstByteMs, attemptsMs) + SLACK_MS;
    return new WaitLimit(isInteractive(wanted) ? ms : undefined);
  }

  /**
   * Holds a blob that no client waits for. False when the upstream has none. Rejects when it could
   * not be had or kept, and when it drips: then it goes on, and the place of whoever waited for it is
   * the next one's.
   */
  async hold(target: Target, digest: Digest, wanted: DownloadDemand, left = 8): Promise<boolean> {
    const { blobs, catalog } = this.#parts;
    const known = await catalog.findBlob(digest);
    const held = known && (await blobs.find(digest, known));
    // Perhaps for another repository, so no link to this one is recorded.
    const proof = held && (await this.#prove(target, held, wanted));
    if (proof === 'shown') return true;
    if (proof === 'absent') return false;
    const isForeign = proof === 'unshown';
    const joined = await this.join(target, digest, wanted, { isForeign });
    if (joined === 'again' && left > 1) return this.hold(target, digest, wanted, left - 1);
    if (joined === 'again') throw new Error(TEXTS.notFoundEachTime);
    if (!joined) return false;
    using _ = joined.interest;
    const { content } = joined;
    const isSettled = content.settled.then(() => true);
    if (!(await Promise.race([isSettled, content.tooSlow]))) throw drips(content);
    if (content.state !== 'unstored') await this.#downloads.get(content);
    if (content.failure instanceof Error) throw content.failure;
    return true;
  }

  /** Between upstreams, so that what is held can be served when this one is silent. */
  async #prove(target: Target, held: StoredBlob, { priority }: DownloadDemand): Promise<Evidence> {
    const { catalog, possession } = this.#parts;
    const { digest } = held;
    if ((await catalog.findLink(target, digest)) === 'proven') return 'shown';
    if ((await possession.originOf(digest, target)) !== 'foreign') return 'shown';
    return possession.prove(target, held, { priority });
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

  #begin(key: string, target: Target, digest: Digest, beginning: Beginning): Entry {
    const entry: Entry = {
      key,
      target,
      digest,
      demand: new SharedDemand(),
      opening: NEVER,
      chainLength: chainLength(),
      isAnswered: false,
    };
    this.#running.set(key, entry);
    entry.opening = beginning.isForeign
      ? Promise.resolve(this.#launch(entry, beginning))
      : this.#open(entry, beginning);
    void entry.opening
      .then(async (content) => content instanceof StoredBlob || content.started)
      .catch(() => undefined)
      .then(() => (entry.isAnswered = true));
    return entry;
  }

  /** Unless it gave way to another one. */
  #forget(entry: Entry): void {
    if (this.#running.get(entry.key) === entry) this.#running.delete(entry.key);
  }

  async #open(entry: Entry, beginning: Beginning): Promise<StoredBlob | Download> {
    const { digest } = entry;
    try {
      // An earlier download may have ended since the caller looked into the store.
      const { blobs, catalog, health, now } = this.#parts;
      using _ = blobs.lease(digest);
      const known = await catalog.findBlob(digest);
      // A blob that the disk cannot give is fetched anew.
      const held = await blobs.find(digest, known).catch(() => undefined);
      if (!held) return this.#launch(entry, beginning);
      const record = { size: held.size, storedAt: now() };
      // Without a link: the file proves nothing about this repository.
      if (!known) await health.recorded(catalog.adoptBlob(digest, record));
      this.#forget(entry);
      return held;
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
  }

  #launch(entry: Entry, beginning: Beginning): Download {
    const { target, digest, demand } = entry;
    const { upstreams, timing, metrics, catalog, possession, health } = this.#parts;
    const { upstream, queue, connections, ranges } = upstreams.of(target);
    const describedSize = async (): Promise<number | undefined> =>
      sizeInManifests(catalog, target, digest);
    const asked = { repository: target.repository, digest, describedSize, timing, metrics };
    const source = { upstream, queue, connections, ranges, ...asked };
    const mayRead = async (): Promise<boolean> => possession.mayReadPart(target, digest);
    const shown = async (): Promise<void> => health.recorded(catalog.recordLink(target, digest));
    const told = { outcomes: this.#outcomes, passages: this.#passages, mayRead, shown };
    const common = { target, source, demand, ...told };
    const download = new Download({ ...this.#parts, ...beginning, ...common });
    // Who reads it, and whether anybody does, decides about its turn.
    demand.watch(() => queue.refill());
    if (this.#closed) download.abort();
    this.#downloads.set(download, this.#run(entry, download));
    return download;
  }

  async #run(entry: Entry, download: Download): Promise<void> {
    const { metrics } = this.#parts;
    const { upstream } = download.target;
    metrics.downloadsInFlight.inc({ upstream });
    const startedAt = performance.now();
    await Traces.span(
      'transfer',
      async () => {
        entry.place = Traces.here;
        await download.run();
        Traces.add({ 'entrepot.bytes': download.size, 'entrepot.state': download.state });
      },
      { facts: { 'entrepot.upstream': upstream, 'entrepot.digest': download.digest } },
    );
    this.#outcomes.count(download, (performance.now() - startedAt) / 1000);
    this.#forget(entry);
    this.#downloads.delete(download);
    metrics.downloadsInFlight.dec({ upstream });
  }
}

function keyOf({ upstream }: Target, digest: Digest): string {
  return `${upstream} ${digest}`;
}

function drips({ target }: Download): UpstreamError {
  return new UpstreamError(
    target.upstream,
    'timeout',
    TEXTS.drips({ floor: MIN_BYTES_PER_SECOND }),
  );
}

/** It was asked, and nothing came in time. */
function isSilence(error: unknown): boolean {
  return error instanceof UpstreamError && error.fault === 'timeout' && !error.isUnasked;
}
