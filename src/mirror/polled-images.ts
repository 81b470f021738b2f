import PQueue from 'p-queue';
import type { HydrateMode } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import type { Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import type { AccessTimes } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { HYDRATION } from '../upstream/demand.ts';
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
/** A poller's next HEAD of the same image is no news for so long. */
const ASKED_MS = 60_000;
const MAX_REMEMBERED = 10_000;
/** That wait at a time; what is left out is due with its next HEAD. */
const MAX_DUE = 1_000;
const AT_A_TIME = 2;

/**
 * Images that clients ask about by HEAD, such as a fleet that has them already. The manifest of such
 * a tag is fetched once in the background, so that the mirror can answer when the link goes, and with
 * it the platforms of an index that were asked about themselves. Layers follow in the mode `head`.
 */
export class PolledImages {
  readonly #parts: PolledImagesParts;
  readonly #asked: ExpiringMap<string, true>;
  readonly #askedByDigest: ExpiringMap<string, true>;
  readonly #tried: ExpiringMap<string, true>;
  readonly #hours = new Map<string, { since: number; fetched: number }>();
  readonly #due = new Set<NodeJS.Timeout>();
  readonly #queue = new PQueue({ concurrency: AT_A_TIME });
  #isClosed = false;

  constructor(parts: PolledImagesParts) {
    const remembered = { max: MAX_REMEMBERED, clock: parts.clock };
    this.#parts = parts;
    this.#asked = new ExpiringMap(remembered);
    this.#askedByDigest = new ExpiringMap(remembered);
    this.#tried = new ExpiringMap(remembered);
  }

  /** Those that are being looked at, or whose manifest is due. */
  get size(): number {
    return this.#due.size + this.#queue.size + this.#queue.pending;
  }

  /** A client asked by HEAD, and was told of this manifest. */
  asked(target: Target, digest: Digest, by: 'tag' | 'digest'): void {
    const key = keyOf(target, digest);
    if (this.#asked.has(key) || this.size >= MAX_DUE) return;
    this.#asked.set(key, true, ASKED_MS);
    if (by === 'digest') this.#askedByDigest.set(key, true, HOUR_MS);
    this.#do(target, digest, async () => this.#look(target, digest, by));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#due) clearTimeout(timer);
    this.#due.clear();
    this.#queue.clear();
    await this.#queue.onIdle();
  }

  #do(target: Target, digest: Digest, work: () => Promise<void>): void {
    if (this.#isClosed) return;
    const { log } = this.#parts;
    void this.#queue.add(async () => {
      await work().catch((err: unknown) => {
        log.info({ target: formatTarget(target), digest, err }, 'not fetched for who polls it');
      });
    });
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
    const timer = setTimeout(() => {
      this.#due.delete(timer);
      this.#do(target, digest, async () => this.#fetch(target, digest));
    }, this.#parts.quietMs).unref();
    this.#due.add(timer);
  }

  async #fetch(target: Target, digest: Digest): Promise<void> {
    const { catalog, manifests, hydrator, modeOf } = this.#parts;
    if (this.#isClosed || (await catalog.isHeld({ target, digest }))) return;
    if (!this.#mayFetch(target, digest)) return;
    if (!(await manifests.fetchKept(target, digest, HYDRATION))) return;
    if (modeOf(target) === 'head') hydrator.pulled(target, digest);
    for (const { digest: child, mediaType } of (await catalog.members(digest))?.successors ?? []) {
      const isAsked = isManifestType(mediaType) && this.#askedByDigest.has(keyOf(target, child));
      if (isAsked) this.#do(target, child, async () => this.#fetch(target, child));
    }
  }

  /** Once a digest, and so many an hour. */
  #mayFetch(target: Target, digest: Digest): boolean {
    const key = keyOf(target, digest);
    if (this.#tried.has(key)) return false;
    const now = this.#parts.clock.steady();
    const known = this.#hours.get(target.upstream);
    const hour = known && now - known.since < HOUR_MS ? known : { since: now, fetched: 0 };
    if (hour.fetched >= MAX_AN_HOUR) return false;
    hour.fetched += 1;
    this.#hours.set(target.upstream, hour);
    this.#tried.set(key, true, HOUR_MS);
    return true;
  }

  async #isListed(target: Target, digest: Digest): Promise<boolean> {
    for await (const _ of this.#parts.catalog.holdersIn(target, digest)) return true;
    return false;
  }
}

function keyOf(target: Target, digest: Digest): string {
  return `${formatTarget(target)}@${digest}`;
}
