import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Digest } from '../oci/digest.ts';
import { fallbackSubject } from '../oci/cosign.ts';
import { formatTarget, type Tag, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Health } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { HYDRATION, type Demand } from '../upstream/demand.ts';
import type { Announcement, AnnouncedTags } from './announced-tags.ts';
import { type Answer, keptTag, ABSENT_TAG, resolvedTag, type ResolvedTag } from './answer.ts';
import { type GoneTags, Absences } from './absences.ts';
import { makeFallbackTag } from './fallback-tag.ts';
import type {
  HeldManifest,
  HeldManifests,
  ManifestStat,
  RecalledManifest,
} from './held-manifests.ts';
import { HeldTags } from './held-tags.ts';
import type { Listings } from './listings.ts';
import { statOf, type Manifests } from './manifests.ts';
import type { ManifestBody } from '../upstream/upstream.ts';
import { Renewals } from './renewals.ts';
import type { Clock } from '../time/clock.ts';
import type { SingleFlight } from './single-flight.ts';
import { earlier, TagAges, type Instant } from './tag-ages.ts';
import { TEXTS } from './texts.ts';
import type { Upstreams } from './upstreams.ts';

export interface TagsParts {
  readonly upstreams: Upstreams;
  readonly manifests: Manifests;
  readonly catalog: Catalog;
  readonly gone: GoneTags;
  readonly announced: AnnouncedTags;
  readonly flight: SingleFlight;
  readonly listings: Listings;
  readonly heldManifests: HeldManifests;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * What a client needs of the answer: the digest, with what a HEAD tells of its manifest, or the
 * manifest itself, which is held from then on.
 */
export type TagDetail = 'digest' | 'manifest';

/** What the upstream says of a tag that it has. */
interface TagHead {
  readonly digest: Digest;
  /** Left out: only a GET can tell. */
  readonly stat?: ManifestStat | undefined;
  /** A GET had to tell. */
  readonly body?: ManifestBody;
  readonly saidAt: Instant;
  /** The upstream is a mirror that could not ask its own upstream. */
  readonly warning?: string;
}

/**
 * What tags mean now, for GET and HEAD alike. Manifests know only digests; all about time is here.
 *
 *   resolve ── held and fresh, unless wished anew, or offline and ready ───────────────────▶ hit
 *           ├─ held and usable, asked about behind the client ─────────▶ stale
 *           ├─ said to be absent within the negative ttl ──────────────▶ negative, or stale if kept
 *           ├─ announced within the ttl, for a HEAD ───────────────────▶ hit
 *           └─ asked of the upstream by HEAD, once for all who ask ─┬──▶ absent: miss, or stale if kept
 *                 │  (by GET where that cannot tell)                ├──▶ means what is held: revalidated
 *                 │                                                 ├──▶ means another held manifest: miss
 *                 │                                                 ├──▶ not held, for a HEAD: miss, announced
 *                 │                                                 └──▶ not held, for a GET: fetched, miss
 *                 └─ fails or takes too long ─┬─ and a copy is held ──▶ stale
 *                                             └─ and the tag is gone ──▶ negative, or stale if kept
 *
 * This is the only place that turns a fault of an upstream into a stale manifest.
 */
export class Tags {
  readonly #parts: TagsParts;
  readonly #ages: TagAges;
  readonly #held: HeldTags;
  /** What upstreams lately said they do not have. */
  readonly #absences: Absences;
  readonly #renewals: Renewals;

  constructor(parts: TagsParts) {
    this.#parts = parts;
    this.#ages = new TagAges(parts.clock);
    this.#held = new HeldTags(parts, this.#ages);
    this.#renewals = new Renewals(parts.clock);
    this.#absences = new Absences(parts);
  }

  /** Throws `UpstreamError` when the upstream cannot say and no copy may stand in. */
  async resolve(
    target: Target,
    tag: Tag,
    detail: 'manifest',
    demand: Demand,
  ): Promise<ResolvedTag<HeldManifest>>;
  async resolve(target: Target, tag: Tag, detail: TagDetail, demand: Demand): Promise<ResolvedTag>;
  async resolve(target: Target, tag: Tag, detail: TagDetail, demand: Demand): Promise<ResolvedTag> {
    const subject = fallbackSubject(tag);
    const found = this.#resolve(target, tag, detail, demand);
    if (!subject) return found;
    // A fallback tag exists wherever there are referrers.
    const resolved = await found.catch(() => undefined);
    if (resolved?.value) return resolved;
    const about = { target, subject, demand };
    const made = await makeFallbackTag(this.#parts, about).catch(() => undefined);
    return made?.value ? resolvedTag(made) : found;
  }

  /**
   * What the upstream says that it means: no copy stands in. With its manifest held, unless a client only
   * wishes to know a tag that is not held.
   */
  async refresh(target: Target, tag: Tag, demand: Demand): Promise<Digest | undefined> {
    const isHeld = !demand.isAnew || (await this.#parts.catalog.findTag(target, tag));
    const detail = isHeld ? 'manifest' : 'digest';
    const asked = this.#ask(target, tag, { detail, demand });
    return (await (demand.isAnew ? asked.catch(Absences.require) : asked))?.value;
  }

  /** As `resolve`, of a tag that is held and fresh with all of it in memory; `undefined` says nothing. */
  recall(target: Target, tag: Tag): ResolvedTag<RecalledManifest> | undefined {
    return this.#held.recall(target, tag);
  }

  async #resolve(
    target: Target,
    tag: Tag,
    detail: TagDetail,
    wanted: Demand,
  ): Promise<ResolvedTag> {
    const { upstreams } = this.#parts;
    const { policy, upstream } = upstreams.of(target);
    const isOffline = upstream.status.state === 'offline';
    const demand = isOffline ? wanted : this.#renewals.grant(target, tag, wanted);
    const isAnew = demand.isAnew && !isOffline;
    const { record, known } = await this.#held.find(target, tag);
    const { copy, age } = known ?? {};
    const present = known?.freshness && copy;
    const freshness = isAnew ? 'expired' : known?.freshness;
    if (present && freshness === 'fresh') return resolvedTag({ ...present, source: 'hit' });
    if (present) {
      const { digest } = present.value;
      if (isOffline && (await this.#parts.gone.isReady(target, tag, digest))) {
        return resolvedTag({ ...present, source: 'hit' });
      }
      if (freshness === 'usable' && !isOffline) {
        // Its failure shows in the metrics of the upstream and, once it matters, to a client.
        this.refresh(target, tag, HYDRATION).catch(() => undefined);
        return resolvedTag({ ...present, source: 'stale', warning: TEXTS.beingRevalidated });
      }
    }
    // The upstream removed it, and a pin keeps it all the same.
    const isKept = copy && this.#parts.gone.isKept(target, tag, copy.value.digest);
    const kept = isKept ? keptTag(target, copy) : undefined;
    if (kept && !isAnew && this.#absences.has(target, tag)) return kept;
    const absence = isAnew ? undefined : this.#absences.answer(target, tag);
    if (absence) return absence;
    const announced = detail === 'digest' && !isAnew && this.#announced(target, tag);
    if (announced) {
      const { stat, saidAt, ...rest } = announced;
      const ageMs = this.#age(target, tag, saidAt);
      return resolvedTag({ value: stat, source: 'hit', ...rest, ageMs });
    }
    const isGone = record?.goneAt !== undefined;
    const asking = this.#ask(target, tag, { detail, demand });
    const asked = record ? asking : asking.catch(async (error) => this.#absent(target, tag, error));
    const found = kept
      ? asked.catch(Absences.require).then((answer) => (answer?.value ? answer : kept))
      : asked;
    // Nothing may stand in: the answer is worth any wait.
    if (!isGone && !(copy && policy.mayServeStale(age?.atLeast))) return found;
    try {
      return await upstreams.withinDeadline(target, found);
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.isAbsence) throw error;
      if (isGone || !copy) return kept ?? ABSENT_TAG;
      return resolvedTag({ ...copy, source: 'stale', warning: error.message });
    }
  }

  /** The answer for a tag that is not held while the upstream is away: absent where it was known to be. */
  async #absent(target: Target, tag: Tag, error: unknown): Promise<ResolvedTag> {
    const { gone, listings } = this.#parts;
    if (!(error instanceof UpstreamError)) throw error;
    const isUntold = error.isAway && (await listings.isUntold(target, tag));
    const isKnown = isUntold || (error.isAway && (await gone.wasNever(target, tag)));
    if (isKnown || error.isHearsay) return { ...ABSENT_TAG, warning: error.message };
    throw error;
  }

  /** What the upstream says. Shared by all who ask at once. */
  async #ask(
    target: Target,
    tag: Tag,
    { detail, demand }: { detail: TagDetail; demand: Demand },
  ): Promise<ResolvedTag> {
    const { flight, manifests } = this.#parts;
    const what = detail === 'manifest' ? 'tag with its manifest' : 'tag';
    const askedAt = this.#ages.now();
    const asking = flight.do({ what, of: target, about: tag, demand }, async (asked) => {
      // Clients send HEAD and GET in a row.
      const isKnown = detail === 'manifest' && !demand.isAnew;
      const announced = isKnown ? this.#announced(target, tag) : undefined;
      const told = announced
        ? { ...announced, digest: announced.stat.digest }
        : await this.#head(target, tag, asked);
      if (!told) return this.#recordGone(target, tag, askedAt.wall);
      const held = await manifests.find(target, told.digest);
      if (held) return this.#confirm(target, tag, held, told);
      if (detail === 'manifest' || !told.stat || told.body)
        return this.#fetch(target, tag, told, asked);
      const { stat, saidAt, warning } = told;
      const rest = { ...(warning !== undefined && { warning }) };
      this.#ages.heard(target, tag, saidAt);
      this.#parts.announced.set(target, tag, { stat, saidAt, ...rest });
      return resolvedTag({ value: stat, source: 'miss', ...rest });
    });
    return asking.catch(async (error: unknown) => {
      if (error instanceof UpstreamError && error.isAbsence)
        await this.#recordGone(target, tag, askedAt.wall, error);
      throw error;
    });
  }

  /** What the upstream said within the ttl of a tag whose manifest is not held. */
  #announced(target: Target, tag: Tag): Announcement | undefined {
    const { policy } = this.#parts.upstreams.of(target);
    const known = this.#parts.announced.get(target, tag);
    return known && policy.isFresh(this.#age(target, tag, known.saidAt)) ? known : undefined;
  }

  /** Throws when the upstream is a mirror whose copy is older than this one's policy lets pass. */
  async #head(target: Target, tag: Tag, demand: Demand): Promise<TagHead | undefined> {
    const { flight, upstreams } = this.#parts;
    const { policy, upstream } = upstreams.of(target);
    const askedAt = this.#ages.now();
    const head = await flight.do(
      { what: 'manifest by HEAD', of: target, about: tag, demand },
      (asked) => upstream.headManifest(target.repository, tag, asked),
    );
    if (!head) return undefined;
    const { digest, copy, body } = head;
    const reason = copy ? TEXTS.parentSays(copy) : '';
    if (copy && !policy.mayServeStale(copy.ageMs)) {
      throw new UpstreamError(upstream.name, 'failing', reason);
    }
    return {
      digest,
      stat: statOf(head),
      saidAt: earlier(askedAt, copy?.ageMs ?? 0),
      ...(body && { body }),
      ...(copy && { warning: TEXTS.parentOf({ upstream: upstream.name, reason }) }),
    };
  }

  /** The tag means what is held. */
  async #confirm(
    target: Target,
    tag: Tag,
    held: HeldManifest,
    told: TagHead,
  ): Promise<ResolvedTag> {
    const { saidAt, warning } = told;
    const previous = await this.#parts.catalog.findTag(target, tag);
    const isSame = previous?.digest === held.digest;
    if (isSame && warning !== undefined) {
      // Nobody has confirmed it again.
      const saidLast = Math.max(previous.checkedAt, saidAt.wall);
      const { atMost: ageMs } = this.#ages.of(target, tag, saidLast);
      return resolvedTag({ value: held, source: 'stale', ageMs, warning });
    }
    const isMoved = await this.#record(target, tag, held.digest, saidAt);
    return resolvedTag({
      value: held,
      source: isSame ? 'revalidated' : 'miss',
      ...(isMoved && { reason: 'moved' }),
      ageMs: this.#age(target, tag, saidAt),
      ...(warning !== undefined && { warning }),
    });
  }

  /** By digest, so that all who want the same manifest share one request. */
  async #fetch(target: Target, tag: Tag, told: TagHead, demand: Demand): Promise<ResolvedTag> {
    const { digest, body, saidAt, warning } = told;
    const { manifests, upstreams } = this.#parts;
    const askedAt = this.#ages.now();
    let fetched = await (body
      ? manifests.keep(target, body, demand)
      : manifests.fetch(target, digest, demand));
    if (!fetched.value) {
      // The tag has moved since and what it meant is gone, or the HEAD told of another manifest.
      fetched = await this.#fetchByTag(target, tag, demand);
      if (fetched.value) upstreams.of(target).upstream.misledByHead();
    }
    if (!fetched.value) return this.#recordGone(target, tag, askedAt.wall);
    if (fetched.source !== 'bypass') {
      const isMoved = await this.#record(target, tag, fetched.value.digest, saidAt);
      if (isMoved) fetched = { ...fetched, reason: 'moved' };
    }
    if (warning === undefined) return resolvedTag(fetched);
    return resolvedTag({ ...fetched, ageMs: this.#age(target, tag, saidAt), warning });
  }

  async #fetchByTag(target: Target, tag: Tag, demand: Demand): Promise<Answer<HeldManifest>> {
    const { flight, manifests, upstreams } = this.#parts;
    return flight.do({ what: 'manifest by tag', of: target, about: tag, demand }, async (asked) => {
      const { upstream } = upstreams.of(target);
      const body = await upstream.getManifest(target.repository, tag, asked);
      return body ? manifests.keep(target, body, asked) : { value: undefined, source: 'miss' };
    });
  }

  /** The upstream has no such tag, as it may say in words of its own. */
  async #recordGone(target: Target, tag: Tag, goneAt: number, words?: UpstreamError) {
    const { announced, gone } = this.#parts;
    this.#absences.add(target, tag, words);
    announced.delete(target, tag);
    await gone.add(target, tag, goneAt);
    return { value: undefined, source: 'miss' } satisfies ResolvedTag;
  }

  /** Whether the tag meant another manifest before. */
  async #record(target: Target, tag: Tag, digest: Digest, saidAt: Instant): Promise<boolean> {
    const { announced, catalog, health, log, metrics } = this.#parts;
    announced.delete(target, tag);
    this.#ages.heard(target, tag, saidAt);
    const before = await catalog.findTag(target, tag);
    const isMoved = before !== undefined && before.digest !== digest;
    if (isMoved) {
      metrics.tagsMoved.inc({ upstream: target.upstream });
      log.info({ target: formatTarget(target), tag, from: before.digest, to: digest }, 'tag moved');
    }
    await health.recorded(catalog.recordTag(target, tag, { digest, checkedAt: saidAt.wall }));
    return isMoved;
  }

  #age(target: Target, tag: Tag, { wall }: Instant): number | undefined {
    return this.#ages.of(target, tag, wall).atMost;
  }
}
