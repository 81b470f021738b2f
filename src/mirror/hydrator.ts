import { cosignTags } from '../oci/cosign.ts';
import type { HydrateMode } from '../config/config.ts';
import type { Digest } from '../oci/digest.ts';
import { itemKey, type Target } from '../oci/reference.ts';
import type { Log } from '../observe/log.ts';
import { unitOf, type Catalog, type Member, type Node } from '../store/catalog/catalog.ts';
import { isForeignType, isManifestType } from '../oci/media-types.ts';
import { HYDRATION } from '../upstream/demand.ts';
import { BackgroundQueue } from './background-queue.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { Listings } from './listings.ts';
import type { Manifests } from './manifests.ts';
import { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Tags } from './tags.ts';

export interface HydratorParts {
  readonly catalog: Catalog;
  readonly downloads: Downloads;
  readonly manifests: Manifests;
  readonly tags: Tags;
  readonly listings: Listings;
  readonly modeOf: (target: Target) => HydrateMode;
  /** How long after its last pull an image is completed: by then its client has what it wants. */
  readonly quietMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A signature that was made later is found this late. */
const DONE_MS = 6 * 3_600_000;
/** With the pause doubled after each one, from the quiet time on: a bit over a day at 30 s. */
const MAX_ATTEMPTS = 12;
/**
 * Manifests and blobs of one image: whoever can write to a repository can attach things to each other
 * for ever, and list what it does not have.
 */
const MAX_PARTS = 1_000;
const MAX_DONE = 10_000;
/** A blob that more manifests of a repository list tells nothing of any of them; a config does. */
const MAX_HOLDERS = 32;

/**
 * Completes images that were pulled in part: the layers that the client had from elsewhere, and the
 * signatures and attestations of what was asked for. Platforms that nobody asked for stay away, and
 * so does all of an image of which a client has asked for no blob, unless `head` is configured.
 */
export class Hydrator {
  readonly #parts: HydratorParts;
  readonly #queue: BackgroundQueue;
  readonly #uses: ImageUses;
  /** Looked at lately: a hot image is not asked about with every pull. */
  readonly #done: ExpiringMap<string, true>;
  #resuming: Promise<void> = Promise.resolve();
  #resumingNext: Promise<void> | undefined;

  constructor(parts: HydratorParts) {
    const { catalog, clock, log, quietMs } = parts;
    this.#parts = parts;
    this.#queue = new BackgroundQueue({
      pauses: new Backoff({ firstMs: quietMs }),
      attempts: MAX_ATTEMPTS,
      failure: 'not completed yet',
      clock,
      log,
    });
    this.#uses = new ImageUses(catalog);
    this.#done = new ExpiringMap({ max: MAX_DONE, clock });
  }

  /** Images that wait for their completion or are being completed. */
  get size(): number {
    return this.#queue.size;
  }

  /** A client asked for a blob, which makes its image one that is used. */
  blobPulled(target: Target, digest: Digest): void {
    const run = async (): Promise<void> => {
      for (const used of await this.#uses.record(target, digest)) this.#want(target, used);
    };
    this.#queue.look({ target, digest, run });
  }

  /** A manifest was pulled. */
  pulled(target: Target, digest: Digest): void {
    if (this.#parts.modeOf(target) === 'head') this.#want(target, digest);
    if (this.#parts.modeOf(target) !== 'blob' || this.#isKnown(target, digest)) return;
    const run = async (): Promise<void> => {
      if (await this.#uses.has({ target, digest })) this.#want(target, digest);
    };
    this.#queue.look({ target, digest, run });
  }

  #isKnown(target: Target, digest: Digest): boolean {
    return this.#queue.has(target, digest) || this.#done.has(itemKey(target, digest));
  }

  #want(target: Target, digest: Digest): void {
    if (this.#parts.modeOf(target) === 'off' || this.#isKnown(target, digest)) return;
    const run = async (signal: AbortSignal): Promise<void> => {
      await this.#fetchAll(target, digest, signal);
      if (this.#isWanted(target, signal)) this.#done.set(itemKey(target, digest), true, DONE_MS);
    };
    this.#queue.add({ target, digest, run });
  }

  /** A reload may have removed the upstream, or switched this off. */
  #isWanted(target: Target, signal: AbortSignal): boolean {
    return !signal.aborted && this.#parts.modeOf(target) !== 'off';
  }

  /** What clients pulled and earlier runs left in part. What sync selects is for sync to fetch. */
  async resume(): Promise<void> {
    // One look that has not begun sees all of it.
    this.#resumingNext ??= this.#resuming
      .catch(() => undefined)
      .then(async () => {
        this.#resumingNext = undefined;
        await this.#resume();
      });
    this.#resuming = this.#resumingNext;
    return this.#resuming;
  }

  async #resume(): Promise<void> {
    const { catalog, modeOf } = this.#parts;
    for await (const { target, digest } of catalog.manifests()) {
      if (this.#queue.isClosed) return;
      if (modeOf(target) === 'off' || !(await this.#isPartial(target, digest))) continue;
      if (await this.#wasWanted(target, digest)) this.#want(target, digest);
    }
  }

  /** A client asked for it, or for what it is about. */
  async #wasWanted(target: Target, digest: Digest): Promise<boolean> {
    const { catalog, modeOf } = this.#parts;
    const seen = new Set([digest]);
    for (const each of seen) {
      const node = { target, digest: each };
      const isHead = modeOf(target) === 'head';
      if (await (isHead ? catalog.wasPulled(node) : this.#uses.has(node))) return true;
      for (const subject of await this.#subjects(target, each)) seen.add(subject);
    }
    return false;
  }

  async #subjects(target: Target, digest: Digest): Promise<Digest[]> {
    const { catalog } = this.#parts;
    const subject = (await catalog.members(digest))?.subject;
    const found = subject ? [subject] : [];
    for (const each of await catalog.attachedTo({ target, digest })) found.push(each);
    for (const parent of await catalog.parents({ target, digest })) {
      for (const member of (await catalog.members(parent))?.successors ?? []) {
        if (member.digest === digest && member.attests) found.push(member.attests);
      }
    }
    return found;
  }

  async close(): Promise<void> {
    await this.#queue.close();
    // It reads the catalog, which closes next.
    await this.#resuming.catch(() => undefined);
  }

  /** Tries all of it, and throws the first failure at the end. */
  async #fetchAll(target: Target, digest: Digest, signal: AbortSignal): Promise<void> {
    // Evicted before its turn came.
    if (!(await this.#parts.catalog.isHeld({ target, digest }))) return;
    const failures: unknown[] = [];
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      if (!this.#isWanted(target, signal)) return;
      await work().catch((error: unknown) => failures.push(error));
    };
    const seen = new Set<Digest>([digest]);
    for (const tag of cosignTags(digest)) {
      await attempt(async () => {
        const attached = await this.#parts.tags.refresh(target, tag, HYDRATION);
        if (attached) seen.add(attached);
      });
    }
    for (const attestation of await this.#attestations(target, digest)) seen.add(attestation);
    // Signatures may be signed: what refers to one of these belongs to the image as well.
    let parts = 0;
    for (const each of seen) {
      if ((parts += 1) > MAX_PARTS) break;
      await attempt(async () => this.#fetchManifest(target, each));
      for (const member of await this.#missing(target, each)) {
        if ((parts += 1) > MAX_PARTS) break;
        await attempt(async () => this.#fetchBlob(target, member.digest));
      }
      await attempt(async () => {
        for (const referrer of await this.#referrers(target, each)) {
          if (seen.size < MAX_PARTS) seen.add(referrer);
        }
      });
    }
    if (failures.length > 0) throw failures[0];
    // What cannot be written is learnt again.
    if (this.#isWanted(target, signal))
      await this.#parts.catalog.recordSearch({ target, digest }).catch(() => undefined);
  }

  /** A list that stands in for one that could not be had is none: it is asked for again later. */
  async #referrers(target: Target, digest: Digest): Promise<Digest[]> {
    const { listings } = this.#parts;
    const answer = await listings.referrers(target, digest, HYDRATION);
    if (answer.source === 'stale') throw new Error(answer.warning ?? 'no list of referrers');
    return (answer.value ?? []).map((referrer) => referrer.digest);
  }

  async #isPartial(target: Target, digest: Digest): Promise<boolean> {
    if ((await this.#missing(target, digest)).length > 0) return true;
    for (const attestation of await this.#attestations(target, digest)) {
      if (!(await this.#parts.catalog.isHeld({ target, digest: attestation }))) return true;
    }
    return false;
  }

  /** Not here, or here because of another upstream only, which counts for nothing. */
  async #isMissing({ upstream }: Target, digest: Digest): Promise<boolean> {
    const { catalog } = this.#parts;
    if (!(await catalog.findBlob(digest))) return true;
    return (await catalog.originOf(digest, upstream)) === 'foreign';
  }

  /** Config, layers and other blobs that are not here and that the registry serves. */
  async #missing(target: Target, digest: Digest): Promise<Member[]> {
    const members = await this.#parts.catalog.members(digest);
    const missing: Member[] = [];
    for (const member of members?.successors ?? []) {
      if (isManifestType(member.mediaType) || isForeignType(member.mediaType)) continue;
      if (await this.#isMissing(target, member.digest)) missing.push(member);
    }
    return missing;
  }

  /** The attestations that BuildKit put into the same index, for platforms that are held. */
  async #attestations(target: Target, digest: Digest): Promise<Digest[]> {
    const { catalog } = this.#parts;
    const found: Digest[] = [];
    for (const parent of await catalog.parents({ target, digest })) {
      for (const member of (await catalog.members(parent))?.successors ?? []) {
        if (member.attests === digest) found.push(member.digest);
      }
    }
    return found;
  }

  async #fetchBlob(target: Target, digest: Digest): Promise<void> {
    await this.#parts.downloads.hold(target, digest, HYDRATION);
  }

  async #fetchManifest(target: Target, digest: Digest): Promise<void> {
    const { catalog, manifests } = this.#parts;
    if (await catalog.isHeld({ target, digest })) return;
    await manifests.fetchKept(target, digest, HYDRATION);
  }
}

/**
 * Images that clients use: of which they asked for a blob, and did not only look at the manifest, as
 * scanners and update bots do. The catalog has it on record, so that it is known after a restart.
 */
class ImageUses {
  readonly #catalog: Catalog;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /**
   * A client asked for a blob. Resolves with the manifest that it is taken to be of and the indexes
   * that list that; with nothing when it belongs to an image that was in use before.
   */
  async record(target: Target, blob: Digest): Promise<Digest[]> {
    const catalog = this.#catalog;
    const image = await this.#imageOf(target, await this.#holders({ target, digest: blob }));
    if (!image) return [];
    const used: Digest[] = [];
    const seen = new Set([image]);
    for (const digest of seen) {
      const node = { target, digest };
      used.push(digest);
      // What cannot be written is learnt again with the next blob.
      if (!(await catalog.wasUsed(node))) await catalog.recordUse(node).catch(() => undefined);
      for (const holder of await this.#holders(node)) seen.add(holder);
    }
    return used;
  }

  /** Whether a client asked for a blob of it, or of one of its platforms. */
  async has({ target, digest }: Node): Promise<boolean> {
    const catalog = this.#catalog;
    if (await catalog.wasUsed({ target, digest })) return true;
    for (const { digest: child, mediaType } of (await catalog.members(digest))?.successors ?? []) {
      if (isManifestType(mediaType) && (await catalog.wasUsed({ target, digest: child })))
        return true;
    }
    return false;
  }

  /** The image that was pulled last of those that share a blob; none while one of them is in use. */
  async #imageOf(target: Target, holders: readonly Digest[]): Promise<Digest | undefined> {
    const catalog = this.#catalog;
    if (holders.length < 2) return holders[0];
    for (const digest of holders) if (await catalog.wasUsed({ target, digest })) return undefined;
    const times = await catalog.lastPulls(holders.map((digest) => unitOf(target, digest)));
    return holders[times.indexOf(times.reduce((one, other) => Math.max(one, other)))];
  }

  async #holders({ target, digest }: Node): Promise<Digest[]> {
    const found: Digest[] = [];
    for await (const holder of this.#catalog.holdersIn(target, digest)) {
      if (found.push(holder) > MAX_HOLDERS) return [];
    }
    return found;
  }
}
