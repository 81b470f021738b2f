import { randomInt } from 'node:crypto';
import type { Metrics } from '../observe/metrics.ts';
import { readAll } from '../oci/content.ts';
import type { Digest } from '../oci/digest.ts';
import { isSameTarget, itemKey, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Health } from '../store/care/care.ts';
import type { Catalog, Link, Origin } from '../store/catalog/catalog.ts';
import type { StoredBlob } from '../store/files/blob-store.ts';
import { INTERACTIVE, type Demand } from '../upstream/demand.ts';
import type { BlobBody, BlobHead } from '../upstream/upstream.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { SingleFlight } from './single-flight.ts';
import { TEXTS } from './texts.ts';
import type { Upstreams } from './upstreams.ts';

export interface PossessionParts {
  readonly upstreams: Upstreams;
  readonly catalog: Catalog;
  readonly flight: SingleFlight;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** What the mirror has of a blob that is asked for. */
export interface Holding {
  readonly held: StoredBlob | undefined;
  /** The repository of a transfer that brings it from this upstream. */
  readonly running: Target | undefined;
  /** The upstream lately said that this repository does not have it. */
  readonly isAbsent: boolean;
}

/**
 * - `shown`: the upstream has sent bytes of our choosing, and they are the held ones.
 * - `absent`: it says that it has no such blob.
 * - `unshown`: it sent others, or none in time: its own transfer must show what it has.
 */
export type Evidence = 'shown' | 'absent' | 'unshown';

/** Asked for at a random place: nobody who lacks the blob can guess them, and any link sends them soon. */
const PROOF_BYTES = 64 * 1024;
/** A registry that has a manifest as a blob seldom changes its mind. */
const AS_BLOB_MS = 3_600_000;
const MAX_AS_BLOBS = 10_000;
/** A client waits for its headers meanwhile; after that a transfer of its own is quicker. */
const PATIENCE_MS = 5_000;

/**
 * Whether a repository may read what is held, or on its way, because of another one. Inside one
 * upstream its word by HEAD counts, since its operator has the bytes; between two a word counts for
 * nothing. What only a manifest of the repository claims opens nothing while our own probe was answered.
 */
export class Possession {
  readonly #parts: PossessionParts;
  /** Held manifests, by whether the registry also has them as blobs. */
  readonly #asBlobs: ExpiringMap<string, boolean>;

  constructor(parts: PossessionParts) {
    this.#parts = parts;
    this.#asBlobs = new ExpiringMap({ max: MAX_AS_BLOBS, clock: parts.clock });
  }

  /** Where a blob came from. After a rebuild nobody knows; then it counts for the only upstream. */
  async originOf(digest: Digest, { upstream }: Pick<Target, 'upstream'>): Promise<Origin> {
    const { upstreams, catalog } = this.#parts;
    const origin = await catalog.originOf(digest, upstream);
    return origin === 'unknown' && upstreams.count === 1 ? 'own' : origin;
  }

  /** Whether the held bytes are known to have come through the target's upstream. */
  async isOwn(target: Target, digest: Digest): Promise<boolean> {
    const { catalog } = this.#parts;
    if ((await catalog.findLink(target, digest)) === 'proven') return true;
    return (await this.originOf(digest, target)) === 'own';
  }

  /**
   * Whether this repository is known to contain a blob that is held or on its way. What is neither is
   * for the upstream to give or to refuse. `damaged`: its file is gone. `foreign`: the bytes are
   * another upstream's, and this one must send its own.
   */
  async mayRead(
    target: Target,
    digest: Digest,
    { held, running, isAbsent }: Holding,
  ): Promise<boolean | 'damaged' | 'foreign'> {
    const { catalog } = this.#parts;
    if (!held && !running) return true;
    // The upstream has answered this repository's own download, which records that at its end.
    const isRunning = running !== undefined && isSameTarget(running, target);
    if (!held && isRunning) return true;
    const link = await catalog.findLink(target, digest);
    if (link === 'proven') {
      const isManifest = held !== undefined && (await catalog.isHeld({ target, digest }));
      return isManifest ? this.#isAsBlob(target, digest) : true;
    }
    const origin = held ? await this.originOf(digest, target) : 'own';
    if (isRunning) return origin === 'own' ? true : 'foreign';
    if (isAbsent) return false;
    if (!held || origin === 'own') return this.#showOwn(target, digest, { link, held });
    // A manifest that this repository does not hold itself came from elsewhere.
    const isLayer = (await catalog.members(digest)) === undefined;
    return this.#showForeign(target, held, {
      isOpenInSilence: link === 'claimed' && origin === 'unknown' && isLayer,
    });
  }

  /** Whether this repository is known to contain a blob of which another one of its upstream has brought a part. */
  async mayReadPart(target: Target, digest: Digest): Promise<boolean> {
    const link = await this.#parts.catalog.findLink(target, digest);
    if (link === 'proven') return true;
    return (await this.#showOwn(target, digest, { link, held: undefined })) === true;
  }

  /**
   * Whether a held manifest is there as a blob too is what the registry says: some say yes, some 404. A yes
   * counts for an hour, a no for the negative ttl. While it is silent, what is held is served.
   */
  async #isAsBlob(target: Target, digest: Digest): Promise<boolean> {
    const { flight, upstreams } = this.#parts;
    const key = itemKey(target, digest);
    const known = this.#asBlobs.get(key);
    if (known !== undefined) return known;
    const { policy, upstream } = upstreams.of(target);
    const asking = flight.do(
      { what: 'manifest as blob', of: target, about: digest },
      async (demand) => upstream.headBlob(target.repository, digest, { demand, isWanted: true }),
    );
    try {
      const isThere = (await upstreams.withinDeadline(target, asking)) !== undefined;
      this.#asBlobs.set(key, isThere, isThere ? AS_BLOB_MS : policy.negativeTtlMs);
      return isThere;
    } catch (error) {
      if (error instanceof UpstreamError && error.isSilence) return true;
      throw error;
    }
  }

  /** Between two upstreams: only bytes show that this one has the blob too. */
  async #showForeign(
    target: Target,
    held: StoredBlob,
    { isOpenInSilence }: { isOpenInSilence: boolean },
  ): Promise<boolean | 'foreign'> {
    const { upstreams } = this.#parts;
    const { digest } = held;
    try {
      // Most that lack it say so by HEAD, which costs them least.
      const asking = this.head(target, digest);
      const head = await (isOpenInSilence ? upstreams.withinDeadline(target, asking) : asking);
      if (!head) return false;
      const proof = await this.prove(target, held);
      return proof === 'unshown' ? 'foreign' : proof === 'shown';
    } catch (error) {
      if (!(error instanceof UpstreamError) || !error.isSilence) throw error;
      // Its own transfer says what is wrong, once it has tried for long enough.
      return isOpenInSilence && (await this.#isSilent(target)) ? true : 'foreign';
    }
  }

  async #showOwn(
    target: Target,
    digest: Digest,
    { link, held }: { link: Link | undefined; held: StoredBlob | undefined },
  ): Promise<boolean | 'damaged'> {
    const { upstreams, catalog, health } = this.#parts;
    try {
      const asking = this.head(target, digest);
      const head = await (link === 'claimed' ? upstreams.withinDeadline(target, asking) : asking);
      if (held && head?.size !== undefined && head.size !== held.size) {
        // The upstream or the file is wrong: the file can be verified, and a HEAD is but a hint.
        if (!(await held.verify())) return 'damaged';
        if ((await this.prove(target, held)) === 'shown') return true;
        const reason = TEXTS.announcedSize({ announced: head.size, held: held.size });
        throw new UpstreamError(target.upstream, 'bad-response', reason);
      }
      if (head) await health.recorded(catalog.recordLink(target, digest));
      return head !== undefined;
    } catch (error) {
      // A manifest of this repository lists it, which suffices while the upstream is silent.
      const isNoAnswer = error instanceof UpstreamError && error.isSilence;
      if (link === 'claimed' && isNoAnswer && (await this.#isSilent(target))) return true;
      throw error;
    }
  }

  /** To our own question: what a client asks for may fail for reasons of its own. */
  async #isSilent(target: Target): Promise<boolean> {
    return this.#parts.upstreams.of(target).upstream.isSilent();
  }

  /**
   * What the upstream says that it has, asked by HEAD, once for all who ask at a time. Where a manifest
   * of the repository lists the blob, only a GET may say that there is none.
   */
  async head(target: Target, digest: Digest): Promise<BlobHead | undefined> {
    const { catalog, upstreams, flight } = this.#parts;
    return flight.do({ what: 'blob by HEAD', of: target, about: digest }, async (asked) => {
      const { upstream } = upstreams.of(target);
      const size = await sizeInManifests(catalog, target, digest);
      return upstream.headBlob(target.repository, digest, { demand: asked, size });
    });
  }

  /**
   * Compares a range of the held bytes with the upstream's, whose word suffices for no bytes at all,
   * once for all who ask at a time; what is shown is on record then. Throws `UpstreamError` when it
   * cannot say.
   */
  async prove(target: Target, held: StoredBlob, demand: Demand = INTERACTIVE): Promise<Evidence> {
    const { flight, health, catalog } = this.#parts;
    const { digest } = held;
    const question = { what: 'blob by range', of: target, about: digest, demand } as const;
    const proof = await flight.do(question, async (asked) => this.#compare(target, held, asked));
    if (proof === 'shown') await health.recorded(catalog.recordLink(target, digest));
    return proof;
  }

  async #compare(target: Target, held: StoredBlob, demand: Demand): Promise<Evidence> {
    const { upstream } = this.#parts.upstreams.of(target);
    const { digest, size } = held;
    if (size === 0) return 'shown';
    const length = Math.min(PROOF_BYTES, size);
    const start = randomInt(size - length + 1);
    const range = { start, end: start + length };
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
    const signal = demand.signal ? AbortSignal.any([demand.signal, abort.signal]) : abort.signal;
    try {
      const asked = {
        ...range,
        demand: { priority: demand.priority, signal },
        size: async () => size,
      };
      const body = await upstream.getBlob(target.repository, digest, asked);
      if (!body) return 'absent';
      const isOther = body.start !== range.start || (body.size ?? size) !== size;
      const sent = isOther ? undefined : await readRange(body, length);
      body.discard();
      if (!sent) return 'unshown';
      const expected = await heldRange(held, range).catch(() => undefined);
      if (!expected) return 'unshown';
      return sent.equals(expected) ? 'shown' : this.#lied(target);
    } catch (error) {
      // No range of the blob: the whole will tell.
      const isOther = error instanceof UpstreamError && error.status === 206;
      if (abort.signal.aborted || isOther) return 'unshown';
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #lied({ upstream }: Target): Evidence {
    this.#parts.metrics.integrityFailures.inc({ upstream, where: 'download' });
    return 'unshown';
  }
}

async function readRange({ chunks }: BlobBody, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let received = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    received += chunk.length;
    if (received >= length) break;
  }
  return Buffer.concat(parts).subarray(0, length);
}

async function heldRange(held: StoredBlob, range: { start: number; end: number }): Promise<Buffer> {
  const reader = await held.open(range);
  try {
    return await readAll(reader, range.end - range.start);
  } finally {
    await reader.close();
  }
}

/** The size that a held manifest of the repository says the blob has; `undefined` where none lists it. */
export async function sizeInManifests(
  catalog: Catalog,
  target: Target,
  digest: Digest,
): Promise<number | undefined> {
  for await (const holder of catalog.holdersIn(target, digest)) {
    const members = await catalog.members(holder);
    const member = members?.successors.find((each) => each.digest === digest);
    if (member) return member.size;
  }
  return undefined;
}
