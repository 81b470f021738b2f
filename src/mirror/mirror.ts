import type { HydrateMode } from '../config/config.ts';
import type { Log } from '../observe/log.ts';
import { Traces } from '../observe/traces.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { isDigestReference, type Reference, type Tag, type Target } from '../oci/reference.ts';
import type { BlobStore } from '../store/files/blob-store.ts';
import type { AccessTimes, Budget, Health, Pins } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Timing } from '../net/timing.ts';
import type { Clock } from '../time/clock.ts';
import { INTERACTIVE, SYNC, WARM, type Demand } from '../upstream/demand.ts';
import { AnnouncedTags } from './announced-tags.ts';
import { Attachments } from './attachments.ts';
import type { Answer, ResolvedTag } from './answer.ts';
import { Blobs } from './blobs.ts';
import { Downloads } from './downloads/downloads.ts';
import { GoneTags, type Selection } from './absences.ts';
import type { Gate } from './gate.ts';
import { Healer } from './healer.ts';
import { Hydrator } from './hydrator.ts';
import { Listings } from './listings.ts';
import {
  HeldManifests,
  type HeldManifest,
  type ManifestStat,
  type RecalledManifest,
} from './held-manifests.ts';
import { Manifests } from './manifests.ts';
import { PolledImages } from './polled-images.ts';
import { Possession } from './possession.ts';
import { SingleFlight } from './single-flight.ts';
import type { UpstreamStatus } from '../api/status-api.ts';
import { Upstreams, type ConfiguredUpstream, type UpstreamLimits } from './upstreams.ts';

export type { ConfiguredUpstream } from './upstreams.ts';
import { Prefetcher } from './prefetcher.ts';
import { Tags } from './tags.ts';
import { TEXTS } from './texts.ts';
import { Ungated } from './ungated.ts';
import { Unkept } from './unkept.ts';

export { GateRefusal, type Gate, type TaggedManifest } from './gate.ts';
export type { Attachments, Reach } from './attachments.ts';
export type { Ungated } from './ungated.ts';

export interface MirrorParts {
  /** Upstreams by name. */
  readonly upstreams: ReadonlyMap<string, ConfiguredUpstream>;
  readonly blobs: BlobStore;
  readonly pins: Pins;
  readonly catalog: Catalog;
  readonly access: AccessTimes;
  readonly budget: Budget;
  readonly health: Health;
  readonly gate: Gate;
  readonly selection: Selection;
  readonly limits?: Omit<UpstreamLimits, 'isOffline'> | undefined;
  readonly timing: Timing;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
  readonly now: () => number;
}

interface Instead {
  readonly digest: Digest;
  readonly how: Pick<Answer<never>, 'source' | 'reason' | 'ageMs' | 'warning'>;
}

/**
 * The engine: what is asked of it comes from the store or, once, from an upstream. The doors ask it
 * for manifests, blobs and lists, sync through `prefetcher`, who warms images through `warming`;
 * everything else stands behind it.
 */
export class Mirror {
  readonly blobs: Blobs;
  /** For the gate: it is not asked by what it asks for itself. */
  readonly attachments: Attachments;
  /** For a scanner, which looks for the gate. */
  readonly ungated: Ungated;
  readonly listings: Listings;
  readonly downloads: Downloads;
  readonly prefetcher: Prefetcher;
  readonly warming: Prefetcher;
  readonly #manifests: Manifests;
  readonly #tags: Tags;
  readonly #healer: Healer;
  readonly #hydrator: Hydrator;
  readonly #polled: PolledImages;
  readonly #access: AccessTimes;
  readonly #gate: Gate;
  readonly #clock: Clock;
  readonly #upstreams: Upstreams;
  readonly #flight: SingleFlight;

  constructor(parts: MirrorParts) {
    const { catalog, blobs, access, health, log, now, clock, metrics } = parts;
    const flight = new SingleFlight(parts.timing);
    this.#flight = flight;
    const upstreams = new Upstreams(parts.upstreams, parts);
    const announced = new AnnouncedTags();
    const gone = new GoneTags(parts);
    const asked = { upstreams, catalog, flight, health, clock, gone };
    metrics.measure(() => upstreams.show());
    this.#access = access;
    this.#gate = parts.gate;
    this.#clock = clock;
    this.#upstreams = upstreams;
    const possession = new Possession({ ...asked, metrics });
    const downloads = new Downloads({ ...parts, upstreams, possession });
    const listings = new Listings(asked);
    const heldManifests = new HeldManifests(parts);
    const unkept = new Unkept(parts);
    const manifests = new Manifests({ ...asked, heldManifests, unkept, possession, announced });
    const tags = new Tags({
      ...asked,
      metrics,
      log,
      manifests,
      announced,
      listings,
      heldManifests,
    });
    const engine = { upstreams, catalog, downloads, manifests, tags, listings, gone, clock };
    this.downloads = downloads;
    this.listings = listings;
    this.prefetcher = new Prefetcher(engine, SYNC);
    this.warming = new Prefetcher(engine, WARM);
    this.#manifests = manifests;
    this.#tags = tags;
    this.#healer = new Healer({ ...engine, timing: parts.timing });
    const modeOf = (target: Target): HydrateMode => upstreams.modeOf(target);
    const behind = { ...engine, modeOf, quietMs: parts.timing.hydrateMs, log };
    const hydrator = new Hydrator(behind);
    this.#hydrator = hydrator;
    this.attachments = new Attachments({ ...engine, blobs, unkept });
    const { gate } = parts;
    const served = { ...asked, ...behind, blobs, metrics, access, now, possession, hydrator, gate };
    this.blobs = new Blobs(served);
    this.ungated = new Ungated({ ...served, unkept });
    this.#polled = new PolledImages({ ...behind, hydrator, access });
  }

  /** Throws `UpstreamError` when it is not held and the upstream cannot say. */
  async getManifest(
    target: Target,
    reference: Reference,
    demand: Demand,
  ): Promise<Answer<HeldManifest>> {
    const askedAt = this.#clock.steady();
    if (isDigestReference(reference)) {
      const held = await this.#manifests.hold(target, reference, demand);
      if (held.value && this.#gate.isJudged(target))
        await this.#gate.pass(target, reference, askedAt);
      return this.#noted(target, held);
    }
    const resolved = await Traces.span('resolve tag', async () =>
      this.#tags.resolve(target, reference, 'manifest', demand),
    );
    const instead =
      this.#gate.isJudged(target) &&
      (await this.#insteadOf({ target, tag: reference }, askedAt, resolved));
    if (!instead) return this.#noted(target, { ...resolved, value: resolved.manifest });
    const earlier = await this.#manifests.hold(target, instead.digest, demand);
    return this.#noted(target, { ...earlier, ...instead.how });
  }

  /** As `getManifest`, but what is not held is only asked for by HEAD. */
  async statManifest(
    target: Target,
    reference: Reference,
    demand: Demand,
  ): Promise<Answer<ManifestStat>> {
    const askedAt = this.#clock.steady();
    if (isDigestReference(reference)) {
      const answer = await this.#manifests.describe(target, reference, demand);
      if (answer.value && this.#gate.isJudged(target))
        await this.#gate.pass(target, reference, askedAt);
      return this.#asked('digest', target, answer);
    }
    const resolved = await Traces.span('resolve tag', async () =>
      this.#tags.resolve(target, reference, 'digest', demand),
    );
    const instead =
      this.#gate.isJudged(target) &&
      (await this.#insteadOf({ target, tag: reference }, askedAt, resolved));
    if (!instead) return this.#asked('tag', target, { ...resolved, value: resolved.manifest });
    const earlier = await this.#manifests.describe(target, instead.digest, demand);
    return this.#asked('tag', target, { ...earlier, ...instead.how });
  }

  /**
   * What `getManifest` and `statManifest` say of a manifest that is held, fresh, judged by nobody and in memory;
   * `undefined` says nothing, and then they are to be asked. Whoever sends it tells `sent`.
   */
  recallManifest(target: Target, reference: Reference): Answer<RecalledManifest> | undefined {
    if (this.#gate.isJudged(target)) return undefined;
    if (isDigestReference(reference)) return this.#manifests.recall(target, reference);
    const found = this.#tags.recall(target, reference);
    return found && { ...found, value: found.manifest };
  }

  /** A client is given what `recallManifest` found. */
  sent(method: 'GET' | 'HEAD', target: Target, reference: Reference, digest: Digest): void {
    if (method === 'GET') this.#pulled(target, digest);
    else this.#polled.asked(target, digest, isDigestReference(reference) ? 'digest' : 'tag');
  }

  /**
   * What the upstream says now that the tag means, with its manifest held where one was before; `undefined`
   * when it has no such tag. Throws `UpstreamError` when it cannot say.
   */
  async refresh(target: Target, tag: Tag): Promise<Digest | undefined> {
    return this.#tags.refresh(target, tag, { ...INTERACTIVE, isAnew: true });
  }

  /** An earlier manifest of the tag, where the gate lets that one leave alone, and how it is told of. */
  async #insteadOf(
    image: { readonly target: Target; readonly tag: Tag },
    askedAt: number,
    { value: digest }: ResolvedTag,
  ): Promise<Instead | undefined> {
    if (!digest) return undefined;
    const passed = await this.#gate.passTag({ ...image, digest }, askedAt);
    if (passed === digest) return undefined;
    const how = {
      source: 'stale',
      reason: undefined,
      ageMs: undefined,
      warning: TEXTS.insteadOf({ digest }),
    } as const;
    return { digest: passed, how };
  }

  #noted(target: Target, answer: Answer<HeldManifest>): Answer<HeldManifest> {
    if (answer.value) this.#pulled(target, answer.value.digest);
    return answer;
  }

  #pulled(target: Target, digest: Digest): void {
    this.#access.note(target, digest, 1);
    this.#hydrator.pulled(target, digest);
  }

  #asked(by: 'tag' | 'digest', target: Target, answer: Answer<ManifestStat>): Answer<ManifestStat> {
    if (answer.value) this.#polled.asked(target, answer.value.digest, by);
    return answer;
  }

  /** Asks these upstreams from now on; what runs goes on with those it began with. */
  configure(...upstreams: Parameters<Upstreams['configure']>): void {
    this.#upstreams.configure(...upstreams);
  }

  /** Fetches again what was held and is damaged. Resolves with why it could not be had, or nothing. */
  async heal(digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    return this.#healer.heal(digest, signal);
  }

  /** Goes on with what clients pulled and earlier runs left in part. */
  async resumeHydration(): Promise<void> {
    return this.#hydrator.resume();
  }

  /** What runs now: downloads, open questions to upstreams, images that are due to be completed. */
  get activity(): { downloads: number; questions: number; hydrations: number } {
    return {
      downloads: this.downloads.size,
      questions: this.#flight.size,
      hydrations: this.#hydrator.size + this.#polled.size,
    };
  }

  /** How each upstream does, in the order of the configuration. */
  get upstreams(): UpstreamStatus[] {
    return this.#upstreams.status;
  }

  /** Ends what no client waits for; partial downloads are kept. */
  stop(): void {
    void this.#polled.close();
    void this.#hydrator.close();
    this.downloads.abortBackground();
  }

  /** Ends all that runs, then waits for it. Partial downloads are kept. The store is the caller's to close, afterwards. */
  async close(): Promise<void> {
    await Promise.all([
      this.#flight.close(),
      this.downloads.close(),
      this.#polled.close(),
      this.#hydrator.close(),
      this.#upstreams.close(),
    ]);
  }
}
