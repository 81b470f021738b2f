import type { HydrateMode } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import { itemKey, type Target } from '../oci/reference.ts';
import type { AccessTimes } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { Backoff } from '../time/backoff.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { HYDRATION } from '../upstream/demand.ts';
import { BackgroundQueue } from './background-queue.ts';
import type { Hydrator } from './hydrator.ts';
import type { Manifests } from './manifests.ts';

export interface PolledImagesParts {
  readonly catalog: Catalog;
  readonly manifests: Manifests;
  readonly hydrator: Hydrator;
  readonly access: AccessTimes;
  readonly modeOf: (target: Target) => HydrateMode;
  /** How long after the HEAD a manifest is fetched: by then its client has, where it wanted to. */
  readonly quietMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const HOUR_MS = 3_600_000;
/**
 * Manifests of one upstream in an hour. Docker Hub, the strictest one, gives an address without an
 * account 100 pulls in six hours; a quarter is kept for clients, and of the rest an hour has 12.
 */
const MAX_AN_HOUR = 12;
/** Digests that were asked about by themselves, or fetched before: a quarter of a KiB each. */
const MAX_REMEMBERED = 10_000;

/**
 * Images that clients ask about by HEAD, such as a fleet that has them already. The manifest of such
 * a tag is fetched once in the background, so that the mirror can answer when the link goes, and with
 * it the platforms of an index that were asked about themselves. Layers follow in the mode `head`.
 */
export class PolledImages {
  readonly #parts: PolledImagesParts;
  readonly #queue: BackgroundQueue;
  readonly #askedByDigest: ExpiringMap<string, true>;
  /** Also when it was evicted since: who only polls needs no more than to be told the digest. */
  readonly #fetched: ExpiringMap<string, true>;

  constructor(parts: PolledImagesParts) {
    const { clock, log, quietMs } = parts;
    this.#parts = parts;
    this.#queue = new BackgroundQueue({
      pauses: new Backoff({ firstMs: quietMs }),
      attempts: 1,
      failure: 'not fetched for who polls it',
      clock,
      log,
    });
    this.#askedByDigest = new ExpiringMap({ max: MAX_REMEMBERED, clock });
    this.#fetched = new ExpiringMap({ max: MAX_REMEMBERED, clock });
  }

  /** How many images are being looked at or wait for their manifest. */
  get size(): number {
    return this.#queue.size;
  }

  /** A client asked by HEAD, and was told of this manifest. */
  asked(target: Target, digest: Digest, by: 'tag' | 'digest'): void {
    if (by === 'digest') this.#askedByDigest.set(itemKey(target, digest), true, HOUR_MS);
    this.#queue.look({ target, digest, run: async () => this.#look(target, digest, by) });
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }

  async #look(target: Target, digest: Digest, by: 'tag' | 'digest'): Promise<void> {
    const { catalog, access, hydrator, modeOf } = this.#parts;
    const mode = modeOf(target);
    if (await catalog.isHeld({ target, digest })) {
      // What is only polled is never counted as pulled.
      if (await catalog.wasPulled({ target, digest })) access.note(target, digest);
      hydrator.pulled(target, digest);
      return;
    }
    if (mode === 'off') return;
    if (by === 'digest' && !(await this.#isListed(target, digest))) return;
    this.#want(target, digest);
  }

  #want(target: Target, digest: Digest): void {
    this.#queue.add({ target, digest, run: async () => this.#fetch(target, digest) });
  }

  async #fetch(target: Target, digest: Digest): Promise<void> {
    const { catalog, manifests, hydrator, modeOf } = this.#parts;
    const key = itemKey(target, digest);
    if (
      modeOf(target) === 'off' ||
      this.#fetched.has(key) ||
      (await catalog.isHeld({ target, digest }))
    )
      return;
    if (!this.#queue.mayAsk(target, MAX_AN_HOUR)) return;
    // Until the upstream has answered: one that fails is asked again after an hour.
    this.#fetched.set(key, true, HOUR_MS);
    const isKept = await manifests.fetchKept(target, digest, HYDRATION);
    this.#fetched.set(key, true, Infinity);
    if (!isKept) return;
    if (modeOf(target) === 'head') hydrator.pulled(target, digest);
    for (const { digest: child, mediaType } of (await catalog.members(digest))?.successors ?? []) {
      const isAsked = this.#askedByDigest.has(itemKey(target, child));
      if (isAsked && isManifestType(mediaType)) this.#want(target, child);
    }
  }

  async #isListed(target: Target, digest: Digest): Promise<boolean> {
    for await (const _ of this.#parts.catalog.holdersIn(target, digest)) return true;
    return false;
  }
}
