import type { Digest } from '../oci/digest.ts';
import { fallbackSubject } from '../oci/cosign.ts';
import { itemKey, type Tag, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Health } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { HYDRATION, type Demand } from '../upstream/demand.ts';
import type { Announcement, AnnouncedTags } from './announced-tags.ts';
import type { Answer } from './answer.ts';
import type { FallbackTags } from './fallback-tags.ts';
import type { GoneTags } from './gone-tags.ts';
import type { HeldManifest, ManifestStat } from './held-manifests.ts';
import { statOf, type Manifests } from './manifests.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { SingleFlight } from './single-flight.ts';
import { earlier, TagAges, type Moment } from './tag-ages.ts';
import { TEXTS } from './texts.ts';
import type { Upstreams } from './upstreams.ts';

export interface TagsParts {
  readonly upstreams: Upstreams;
  readonly manifests: Manifests;
  readonly catalog: Catalog;
  readonly gone: GoneTags;
  readonly announced: AnnouncedTags;
  readonly flight: SingleFlight;
  readonly fallbackTags: FallbackTags;
  readonly health: Health;
  readonly clock: Clock;
}

/**
 * What a client needs of the answer: the digest, with what a HEAD tells of its manifest, or the
 * manifest itself, which is held from then on.
 */
export type Need = 'digest' | 'manifest';

/** What a tag means, with as much of its manifest as was needed. */
export interface Meaning<Manifest extends ManifestStat = ManifestStat> extends Answer<Digest> {
  readonly manifest?: Manifest;
}

/** What the upstream says of a tag that it has. */
interface Told {
  /** Left out: only a GET can tell. */
  readonly digest?: Digest;
  readonly stat?: ManifestStat | undefined;
  readonly saidAt: Moment;
  /** The upstream is a mirror that could not ask its own upstream. */
  readonly warning?: string;
}

const MAX_NEGATIVES = 10_000;

/**
 * What tags mean now, for GET and HEAD alike. Manifests know only digests; all about time is here.
 *
 *   resolve ── held and fresh ─────────────────────────────────────────▶ hit
 *           ├─ held and usable, asked about behind the client ─────────▶ stale
 *           ├─ said to be absent within the negative ttl ──────────────▶ negative
 *           ├─ announced within the ttl, for a HEAD ───────────────────▶ hit
 *           └─ asked of the upstream by HEAD, once for all who ask ─┬──▶ absent: miss
 *                 │                                                 ├──▶ means what is held: revalidated
 *                 │                                                 ├──▶ means another held manifest: miss
 *                 │                                                 ├──▶ not held, for a HEAD: miss, announced
 *                 │                                                 └──▶ not held, for a GET: fetched, miss
 *                 └─ fails or takes too long ─┬─ and a copy is held ──▶ stale
 *                                             └─ and the tag is gone ──▶ negative
 *
 * This is the only place that turns a fault of an upstream into a stale manifest.
 */
export class Tags {
  readonly #parts: TagsParts;
  readonly #ages: TagAges;
  /** What upstreams lately said they do not have. */
  readonly #negatives: ExpiringMap<string, true>;

  constructor(parts: TagsParts) {
    this.#parts = parts;
    this.#ages = new TagAges(parts.clock);
    this.#negatives = new ExpiringMap({ max: MAX_NEGATIVES, clock: parts.clock });
  }

  /** Throws `UpstreamError` when the upstream cannot say and no copy may stand in. */
  async resolve(
    target: Target,
    tag: Tag,
    need: 'manifest',
    demand: Demand,
  ): Promise<Meaning<HeldManifest>>;
  async resolve(target: Target, tag: Tag, need: Need, demand: Demand): Promise<Meaning>;
  async resolve(target: Target, tag: Tag, need: Need, demand: Demand): Promise<Meaning> {
    const subject = fallbackSubject(tag);
    if (!subject) return this.#resolve(target, tag, need, demand);
    // A fallback tag exists wherever there are referrers.
    const found = this.#resolve(target, tag, need, demand);
    const meaning = await found.catch(() => undefined);
    if (meaning?.value) return meaning;
    const made = await this.#parts.fallbackTags
      .make(target, subject, demand)
      .catch(() => undefined);
    return made?.value ? meaningOf(made) : found;
  }

  /** What the upstream says that it means, with its manifest held, for work that no client waits for. */
  async refresh(target: Target, tag: Tag, demand: Demand): Promise<Digest | undefined> {
    return (await this.#ask(target, tag, { need: 'manifest', demand })).value;
  }

  async #resolve(target: Target, tag: Tag, need: Need, demand: Demand): Promise<Meaning> {
    const { upstreams, catalog, manifests } = this.#parts;
    const { policy } = upstreams.of(target);
    const record = await catalog.findTag(target, tag);
    const held = record && (await manifests.find(target, record.digest));
    const age = record && this.#ages.of(target, tag, record.checkedAt);
    const copy = held && { value: held, ageMs: age?.atMost };
    if (copy && record.goneAt === undefined) {
      const freshness = policy.judge(target.repository, tag, copy.ageMs);
      if (freshness === 'fresh') return meaningOf({ ...copy, source: 'hit' });
      if (freshness === 'usable') {
        // Its failure shows in the metrics of the upstream and, once it matters, to a client.
        this.refresh(target, tag, HYDRATION).catch(() => undefined);
        return meaningOf({ ...copy, source: 'stale', warning: TEXTS.beingRevalidated });
      }
    }
    if (this.#negatives.has(itemKey(target, tag))) return NEGATIVE;
    const announced = need === 'digest' && this.#announced(target, tag);
    if (announced) {
      const { stat, saidAt, ...rest } = announced;
      const ageMs = this.#age(target, tag, saidAt);
      return meaningOf({ value: stat, source: 'hit', ...rest, ageMs });
    }
    const isGone = await this.#parts.gone.has(target, tag);
    const asking = this.#ask(target, tag, { need, demand });
    // Nothing may stand in: the answer is worth any wait.
    if (!isGone && !(copy && policy.mayServeStale(age?.atLeast))) return asking;
    try {
      return await upstreams.withinDeadline(target, asking);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      if (isGone || !copy) return NEGATIVE;
      return meaningOf({ ...copy, source: 'stale', warning: error.message });
    }
  }

  /** What the upstream says. Shared by all who ask at once. */
  async #ask(target: Target, tag: Tag, by: { need: Need; demand: Demand }): Promise<Meaning> {
    const { flight, manifests } = this.#parts;
    const { need, demand } = by;
    const what = need === 'manifest' ? 'tag with its manifest' : 'tag';
    return flight.do({ what, of: target, about: tag, demand }, async (asked) => {
      const askedAt = this.#ages.now();
      // Clients send HEAD and GET in a row.
      const announced = need === 'manifest' ? this.#announced(target, tag) : undefined;
      const told = announced
        ? { ...announced, digest: announced.stat.digest }
        : await this.#head(target, tag, asked);
      if (!told) return this.#recordGone(target, tag, askedAt.wall);
      const held = told.digest && (await manifests.find(target, told.digest));
      if (held) return this.#confirm(target, tag, held, told);
      if (need === 'manifest' || !told.stat) return this.#fetch(target, tag, told, asked);
      const { stat, saidAt, warning } = told;
      const rest = { ...(warning !== undefined && { warning }) };
      this.#ages.heard(target, tag, saidAt);
      this.#parts.announced.set(target, tag, { stat, saidAt, ...rest });
      return meaningOf({ value: stat, source: 'miss', ...rest });
    });
  }

  /** What the upstream said within the ttl of a tag whose manifest is not held. */
  #announced(target: Target, tag: Tag): Announcement | undefined {
    const { announced, upstreams } = this.#parts;
    const { policy } = upstreams.of(target);
    const known = announced.get(target, tag);
    return known && policy.isFresh(this.#age(target, tag, known.saidAt)) ? known : undefined;
  }

  /** Throws when the upstream is a mirror whose copy is older than this one's policy lets pass. */
  async #head(target: Target, tag: Tag, demand: Demand): Promise<Told | undefined> {
    const { flight, upstreams } = this.#parts;
    const { policy, upstream } = upstreams.of(target);
    const askedAt = this.#ages.now();
    const head = await flight.do(
      { what: 'manifest by HEAD', of: target, about: tag, demand },
      (asked) => upstream.headManifest(target.repository, tag, asked),
    );
    if (!head) return undefined;
    const { digest, copy } = head;
    const reason = copy ? TEXTS.parentSays(copy) : '';
    if (copy && !policy.mayServeStale(copy.ageMs)) {
      throw new UpstreamError(upstream.name, 'failing', reason);
    }
    return {
      stat: statOf(head),
      saidAt: earlier(askedAt, copy?.ageMs ?? 0),
      ...(digest && { digest }),
      ...(copy && { warning: TEXTS.parentOf({ upstream: upstream.name, reason }) }),
    };
  }

  /** The tag means what is held. */
  async #confirm(target: Target, tag: Tag, held: HeldManifest, told: Told): Promise<Meaning> {
    const { saidAt, warning } = told;
    const previous = await this.#parts.catalog.findTag(target, tag);
    const isSame = previous?.digest === held.digest;
    if (isSame && warning !== undefined) {
      // Nobody has confirmed it again.
      const { atMost: ageMs } = this.#ages.of(
        target,
        tag,
        Math.max(previous.checkedAt, saidAt.wall),
      );
      return meaningOf({ value: held, source: 'stale', ageMs, warning });
    }
    await this.#record(target, tag, held.digest, saidAt);
    return meaningOf({
      value: held,
      source: isSame ? 'revalidated' : 'miss',
      ageMs: this.#age(target, tag, saidAt),
      ...(warning !== undefined && { warning }),
    });
  }

  /** By digest wherever it is known, so that all who want the same manifest share one request. */
  async #fetch(target: Target, tag: Tag, told: Told, demand: Demand): Promise<Meaning> {
    const { digest, saidAt, warning } = told;
    const askedAt = this.#ages.now();
    let fetched = digest && (await this.#parts.manifests.fetch(target, digest, demand));
    // The digest is not known, or the tag has moved since and what it meant is gone.
    if (!fetched?.value) fetched = await this.#fetchByTag(target, tag, demand);
    if (!fetched.value) return this.#recordGone(target, tag, askedAt.wall);
    if (fetched.source !== 'bypass') {
      await this.#record(target, tag, fetched.value.digest, saidAt);
    }
    if (warning === undefined) return meaningOf(fetched);
    return meaningOf({ ...fetched, ageMs: this.#age(target, tag, saidAt), warning });
  }

  async #fetchByTag(target: Target, tag: Tag, demand: Demand): Promise<Answer<HeldManifest>> {
    const { flight, manifests, upstreams } = this.#parts;
    return flight.do({ what: 'manifest by tag', of: target, about: tag, demand }, async (asked) => {
      const { upstream } = upstreams.of(target);
      const body = await upstream.getManifest(target.repository, tag, asked);
      return body ? manifests.keep(target, body, asked) : { value: undefined, source: 'miss' };
    });
  }

  /** The upstream has no such tag. */
  async #recordGone(target: Target, tag: Tag, goneAt: number): Promise<Meaning> {
    const { announced, gone, upstreams } = this.#parts;
    const { negativeTtlMs } = upstreams.of(target).policy;
    this.#negatives.set(itemKey(target, tag), true, negativeTtlMs);
    announced.delete(target, tag);
    await gone.add(target, tag, goneAt);
    return { value: undefined, source: 'miss' };
  }

  async #record(target: Target, tag: Tag, digest: Digest, saidAt: Moment): Promise<void> {
    const { announced, catalog, health } = this.#parts;
    announced.delete(target, tag);
    this.#ages.heard(target, tag, saidAt);
    await health.recorded(catalog.recordTag(target, tag, { digest, checkedAt: saidAt.wall }));
  }

  #age(target: Target, tag: Tag, { wall }: Moment): number | undefined {
    return this.#ages.of(target, tag, wall).atMost;
  }
}

const NEGATIVE: Meaning = { value: undefined, source: 'negative' };

function meaningOf<Manifest extends ManifestStat>({
  value,
  ...answer
}: Answer<Manifest>): Meaning<Manifest> {
  return { ...answer, value: value?.digest, ...(value && { manifest: value }) };
}
