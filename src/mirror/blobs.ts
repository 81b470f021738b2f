import type { ByteRange, Content, Reader } from '../oci/content.ts';
import type { Digest } from '../oci/digest.ts';
import { isSameTarget, type Target } from '../oci/reference.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Traces } from '../observe/traces.ts';
import type { BlobStore, StoredBlob } from '../store/files/blob-store.ts';
import type { AccessTimes, Health } from '../store/care/care.ts';
import type { BlobRecord, Catalog } from '../store/catalog/catalog.ts';
import { Absences } from './absences.ts';
import type { Answer, CacheResult, MissReason } from './answer.ts';
import type { DownloadDemand, Interest } from './downloads/demand.ts';
import { Download } from './downloads/download.ts';
import type { Gate } from './gate.ts';
import type { Downloads, Joined } from './downloads/downloads.ts';
import type { Clock } from '../time/clock.ts';
import type { Possession } from './possession.ts';
import type { Hydrator } from './hydrator.ts';
import type { Upstreams } from './upstreams.ts';
import { TEXTS } from './texts.ts';

export interface BlobsParts {
  readonly upstreams: Upstreams;
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly downloads: Downloads;
  readonly possession: Possession;
  readonly gate: Pick<Gate, 'passBlob'>;
  readonly metrics: Metrics;
  readonly access: Pick<AccessTimes, 'note'>;
  readonly hydrator: Pick<Hydrator, 'blobPulled'>;
  readonly health: Health;
  readonly log: Log;
  readonly clock: Clock;
}

/** What a client may know of a blob without its bytes. */
export interface BlobStat extends Pick<Content, 'size' | 'isVerified'> {}

/** Blobs by digest: from the store, from a running download, or from a new one. */
export class Blobs {
  readonly #parts: BlobsParts;
  /** Records whose damaged files were reported already. */
  readonly #reported = new WeakSet<BlobRecord>();
  /** What upstreams lately said they do not have, by GET. */
  readonly #absences: Absences;
  /** What they said so of by HEAD, which counts for a HEAD alone: some fetch on GET only. */
  readonly #headAbsences: Absences;

  constructor(parts: BlobsParts) {
    this.#parts = parts;
    this.#absences = new Absences(parts);
    this.#headAbsences = new Absences(parts);
  }

  /** Throws `UpstreamError` when it is not held and the upstream cannot say. */
  async get(target: Target, digest: Digest, demand: DownloadDemand): Promise<Answer<Content>> {
    await this.#pass(target, digest);
    return this.#absences.listen(target, digest, this.#get(target, digest, demand, 1));
  }

  async #get(
    target: Target,
    digest: Digest,
    demand: DownloadDemand,
    attempt: number,
  ): Promise<Answer<Content>> {
    const held = await Traces.span('look up blob', async () => this.#held(target, digest));
    const mayRead = await this.#mayRead(target, digest, held);
    if (mayRead === 'damaged') return this.#get(target, digest, demand, attempt);
    if (!mayRead) return this.#absent(target, digest, 'HEAD');
    this.#parts.access.note(target, digest);
    // A part of it does not make its image one that is used here.
    const { ranges } = this.#parts.upstreams.of(target);
    const isPart = !held && ranges.mayBeParts(demand.ranges);
    if (!isPart) this.#parts.hydrator.blobPulled(target, digest);
    const isForeign = mayRead === 'foreign';
    if (held && !isForeign) return { value: held, source: 'hit' };
    const absence = this.#absences.answer(target, digest);
    if (absence) return absence;
    const { downloads } = this.#parts;
    // A HEAD goes round a loop of mirrors and comes back as a fault; a transfer would wait for itself.
    if (
      downloads.mayWaitForUs(target, digest) &&
      !(await this.#parts.possession.head(target, digest))
    ) {
      return this.#absent(target, digest, 'HEAD');
    }
    const options = { isForeign, isSecondTry: attempt > 1 };
    const found = await downloads.join(target, digest, demand, options);
    // A broken disk may show the blob at every other look.
    if (found === 'again' && attempt === MAX_ATTEMPTS) {
      return this.#bypass(target, digest, demand, new Error(TEXTS.notFoundEachTime));
    }
    if (found === 'again') return this.#get(target, digest, demand, attempt + 1);
    if (!found) return this.#absent(target, digest, 'GET');
    const reason = isForeign ? 'foreign' : this.#parts.blobs.whyLost(digest);
    return answerOf(found, reason);
  }

  /**
   * For a held blob whose file could not be opened: fetched anew when the file is gone, else passed
   * through from the upstream.
   */
  async getAnew(
    target: Target,
    digest: Digest,
    demand: DownloadDemand,
    fault: unknown,
  ): Promise<Answer<Content>> {
    if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return this.get(target, digest, demand);
    const { log, health } = this.#parts;
    log.error({ digest, err: fault }, 'a held blob could not be opened');
    health.refused(fault);
    return this.#bypass(target, digest, demand, fault as Error);
  }

  /** The upstream's bytes, verified and not kept. */
  async #bypass(
    target: Target,
    digest: Digest,
    demand: DownloadDemand,
    fault: Error,
  ): Promise<Answer<Content>> {
    const head = await this.#parts.possession.head(target, digest);
    const how = { size: head?.size, fault };
    const found = await this.#parts.downloads.passOn(target, digest, demand, how);
    return found ? { ...answerOf(found), source: 'bypass' } : this.#absent(target, digest, 'GET');
  }

  /** Never begins a transfer of bytes, nor waits for more than the headers of one. */
  async stat(target: Target, digest: Digest): Promise<Answer<BlobStat>> {
    await this.#pass(target, digest);
    return this.#stat(target, digest);
  }

  async #pass(target: Target, digest: Digest): Promise<void> {
    await this.#parts.gate.passBlob(target, digest, this.#parts.clock.steady());
  }

  async #stat(target: Target, digest: Digest): Promise<Answer<BlobStat>> {
    const { downloads } = this.#parts;
    const wasRunning = downloads.targetOf(target, digest) !== undefined;
    const held = await this.#held(target, digest);
    if (held && (await this.#parts.possession.isOwn(target, digest))) {
      const mayRead = await this.#mayRead(target, digest, held);
      if (mayRead === 'damaged') return this.#stat(target, digest);
      return mayRead ? { value: held, source: 'hit' } : this.#absent(target, digest, 'HEAD');
    }
    // It was kept after the look into the store.
    if (!held && wasRunning && !downloads.targetOf(target, digest))
      return this.#stat(target, digest);
    const joined = held ? undefined : await this.#statRunning(target, digest);
    if (joined) return joined;
    const absence =
      this.#absences.answer(target, digest) ?? this.#headAbsences.answer(target, digest);
    if (absence) return absence;
    const asking = this.#parts.possession.head(target, digest);
    const head = await this.#headAbsences.listen(target, digest, asking);
    if (!head) return this.#absent(target, digest, 'HEAD');
    const reason = held ? 'foreign' : this.#parts.blobs.whyLost(digest);
    return { value: { size: head.size, isVerified: false }, source: 'miss', reason };
  }

  /** What a running download tells of a blob that this repository is known to have. */
  async #statRunning(target: Target, digest: Digest): Promise<Answer<BlobStat> | undefined> {
    const { catalog, downloads } = this.#parts;
    const running = downloads.targetOf(target, digest);
    if (!running || downloads.mayWaitForUs(target, digest)) return undefined;
    const isKnown =
      isSameTarget(running, target) || (await catalog.findLink(target, digest)) === 'proven';
    const content = isKnown ? await downloads.peek(target, digest) : undefined;
    if (content?.size === undefined) return undefined;
    const { size, isVerified } = content;
    return { value: { size, isVerified }, source: isVerified ? 'hit' : 'joined' };
  }

  /** `undefined` also for a blob that the disk cannot give: it is fetched anew. */
  async #held(target: Target, digest: Digest): Promise<StoredBlob | undefined> {
    const { blobs, catalog, health } = this.#parts;
    const record = await catalog.findBlob(digest);
    let fault: unknown;
    const held = await blobs
      .find(digest, record, {
        verified: async (changedAt) => health.recorded(this.#verified(digest, changedAt)),
        damaged: async () => this.#reportDamage(target, digest, { record }),
      })
      .catch((error: unknown) => {
        fault = error;
        return undefined;
      });
    if (record && !held) await this.#reportDamage(target, digest, { record, fault });
    return held;
  }

  /** Records also a file that the catalog does not know. */
  async #verified(digest: Digest, changedAt: number): Promise<void> {
    const { blobs, catalog, clock } = this.#parts;
    const found = { changedAt, verifiedAt: clock.wall() };
    if (await catalog.findBlob(digest)) return catalog.updateBlob(digest, found);
    // A record that cannot be read now stays, and an evicted blob has no file any more.
    if (await catalog.hasBlob(digest)) return;
    using _ = blobs.lease(digest);
    const file = await blobs.statBlob(digest);
    if (file)
      await catalog.adoptBlob(digest, { size: file.size, storedAt: clock.wall(), ...found });
  }

  /** Logs and counts the damage once, however many requests find it. */
  async #reportDamage(
    target: Target,
    digest: Digest,
    { record, fault }: { record: BlobRecord | undefined; fault?: unknown },
  ): Promise<void> {
    if (record && this.#reported.has(record)) return;
    if (record) this.#reported.add(record);
    const { catalog, health, log, metrics } = this.#parts;
    log.warn({ digest, err: fault }, 'a held blob is missing, damaged or unreadable');
    metrics.integrityFailures.inc({ upstream: target.upstream, where: 'store' });
    if (fault === undefined) await health.recorded(catalog.forgetBlob(digest));
  }

  async #mayRead(target: Target, digest: Digest, held: StoredBlob | undefined) {
    const { downloads, possession } = this.#parts;
    const running = downloads.targetOf(target, digest);
    const isAbsent = this.#absences.has(target, digest);
    return possession.mayRead(target, digest, { held, running, isAbsent });
  }

  /** `by`: how the upstream said so. */
  #absent(target: Target, digest: Digest, by: 'GET' | 'HEAD'): Answer<never> {
    const known = this.#absences.answer(target, digest);
    if (known) return known;
    const absences = by === 'GET' ? this.#absences : this.#headAbsences;
    absences.add(target, digest);
    return { value: undefined, source: 'miss' };
  }
}

/** Whether the store has room is known only after the headers, so the source is read at the end. */
function answerOf(found: Joined, reason?: MissReason): Answer<Content> {
  const { content, interest } = found;
  const source = sourceOf(found);
  const isUnstored = (): boolean => content instanceof Download && content.state === 'unstored';
  return {
    value: content instanceof Download ? new JoinedDownload(content, interest) : content,
    get source() {
      return isUnstored() ? 'bypass' : source;
    },
    get reason() {
      return isUnstored() ? undefined : reason;
    },
  };
}

function sourceOf({ content, joined, interest }: Joined): CacheResult {
  if (!(content instanceof Download)) return 'hit';
  if (content.holds(interest.demand.ranges)) return 'hit';
  if (!joined) return 'miss';
  return content.state === 'finished' ? 'hit' : 'joined';
}

/** Looks into the store and at the running downloads before the store is bypassed. */
const MAX_ATTEMPTS = 8;

/** A client that has its headers reads at once, or not at all. */
const EXPECTED_MS = 10_000;

/** A download as one of its clients has it: wanted while that client reads, or is about to. */
class JoinedDownload implements Content {
  readonly digest: Digest;
  readonly #download: Download;
  readonly #expected: Interest;

  constructor(download: Download, expected: Interest) {
    this.digest = download.digest;
    this.#download = download;
    this.#expected = expected;
    setTimeout(() => expected[Symbol.dispose](), EXPECTED_MS).unref();
  }

  get size(): number | undefined {
    return this.#download.size;
  }

  get isVerified(): boolean {
    return this.#download.isVerified;
  }

  want(ranges: readonly ByteRange[]): Disposable | undefined {
    return this.#download.want(ranges);
  }

  async open(range?: ByteRange): Promise<Reader> {
    const { demand } = this.#expected;
    const interest = this.#download.demand.join(demand);
    this.#expected[Symbol.dispose]();
    try {
      const reader = await this.#download.open(range, demand);
      return {
        ready: async () => reader.ready?.(),
        shared: () => reader.shared?.(),
        read: async (scratch) => reader.read(scratch),
        close: async () => {
          interest[Symbol.dispose]();
          await reader.close();
        },
      };
    } catch (error) {
      interest[Symbol.dispose]();
      throw error;
    }
  }
}
