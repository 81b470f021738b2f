import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { INTERACTIVE, isInteractive, type Demand } from '../upstream/demand.ts';
import type { ManifestBody, ManifestHead } from '../upstream/upstream.ts';
import { Absences } from './absences.ts';
import type { AnnouncedTags } from './announced-tags.ts';
import type { Answer } from './answer.ts';
import type {
  HeldManifest,
  HeldManifests,
  ManifestStat,
  RecalledManifest,
} from './held-manifests.ts';
import { ageOf, type Clock } from '../time/clock.ts';
import type { Possession } from './possession.ts';
import type { Question, SingleFlight } from './single-flight.ts';
import { TEXTS } from './texts.ts';
import type { Unkept } from './unkept.ts';
import type { Upstreams } from './upstreams.ts';

export interface ManifestsParts {
  readonly upstreams: Upstreams;
  readonly heldManifests: HeldManifests;
  readonly unkept: Unkept;
  readonly possession: Possession;
  readonly catalog: Catalog;
  readonly announced: AnnouncedTags;
  readonly flight: SingleFlight;
  readonly clock: Clock;
}

/** Manifests by digest. A digest is immutable: what is held is answered without a question. */
export class Manifests {
  readonly #parts: ManifestsParts;
  /** What upstreams lately said they do not have. */
  readonly #absences: Absences;

  constructor(parts: ManifestsParts) {
    this.#parts = parts;
    this.#absences = new Absences(parts);
  }

  /** The manifest, fetched when it is not held. Throws `UpstreamError` when the upstream cannot say. */
  async hold(target: Target, digest: Digest, demand: Demand): Promise<Answer<HeldManifest>> {
    const known = await this.#known(target, digest);
    if (known) return known;
    try {
      return this.#remembered(target, digest, await this.fetch(target, digest, demand));
    } catch (error) {
      throw await this.#refusalOf(target, digest, error);
    }
  }

  /** As `hold`, but what is not held is only asked for by HEAD where that tells enough. */
  async describe(target: Target, digest: Digest, demand: Demand): Promise<Answer<ManifestStat>> {
    const known = await this.#known(target, digest);
    if (known) return known;
    try {
      const head = await this.#head(target, digest, demand);
      const value = head && statOf(head);
      if (head?.body) return await this.keep(target, head.body, demand);
      if (head && !value)
        return this.#remembered(target, digest, await this.fetch(target, digest, demand));
      const reason = this.#parts.heldManifests.whyLost(digest);
      return this.#remembered(target, digest, { value, source: 'miss', reason });
    } catch (error) {
      throw await this.#refusalOf(target, digest, error);
    }
  }

  /** As `hold` and `describe`, where all of it is in memory; `undefined` says nothing. */
  recall(target: Target, digest: Digest): Answer<RecalledManifest> | undefined {
    const held = this.#parts.heldManifests.recall(target, digest);
    return held && this.#hit(held);
  }

  /** `undefined` unless it is held for this repository. */
  async find(target: Target, digest: Digest): Promise<HeldManifest | undefined> {
    return this.#parts.heldManifests.find(target, digest);
  }

  /** Asks the upstream, also for what is held, and keeps what it gives. Shared by all who ask at once. */
  async fetch(target: Target, digest: Digest, demand = INTERACTIVE): Promise<Answer<HeldManifest>> {
    const { announced, flight, possession, upstreams, heldManifests } = this.#parts;
    const question: Question = { what: 'manifest', of: target, about: digest, demand };
    // A HEAD goes round a loop of mirrors and comes back as a fault; a GET would wait for itself.
    if (flight.mayWaitForUs(question) && !(await this.#head(target, digest, demand))) {
      return { value: undefined, source: 'miss' };
    }
    return flight.do(question, async (asked) => {
      const isOwn = (await possession.originOf(digest, target)) === 'own';
      if (isOwn && (await heldManifests.mayHold(digest))) {
        // Held because of another repository of this upstream: a HEAD, which is free, shows that this
        // one has it too.
        const head = await this.#head(target, digest, asked);
        if (!head) return { value: undefined, source: 'miss' };
        const { mediaType } = head;
        const body =
          head.body ?? (mediaType && (await heldManifests.readBody(target, digest, mediaType)));
        if (body) return this.keep(target, body, asked);
      }
      const { upstream } = upstreams.of(target);
      const body = await upstream.getManifest(target.repository, digest, asked);
      // A HEAD of a tag told of it.
      const isMisled = !body && announced.takeOf(target, digest).length > 0;
      if (isMisled) upstream.misledByHead();
      return body ? this.keep(target, body, asked) : { value: undefined, source: 'miss' };
    });
  }

  /** As `fetch`, for work that needs it held. False when the upstream has no such manifest. */
  async fetchKept(target: Target, digest: Digest, demand: Demand): Promise<boolean> {
    const { value, source } = await this.fetch(target, digest, demand);
    if (source === 'bypass') throw new Error(`${digest} was fetched and could not be kept`);
    return value !== undefined;
  }

  /** What the upstream has just given, with the tags that are known to mean it. */
  async keep(target: Target, body: ManifestBody, demand: Demand): Promise<Answer<HeldManifest>> {
    const { announced, heldManifests, unkept } = this.#parts;
    const tags = announced.takeOf(target, body.digest);
    const { held, isKept } = await heldManifests.put(target, body, {
      tags,
      isPulled: isInteractive(demand),
    });
    if (isKept) unkept.forgetManifest(target, body.digest);
    else unkept.addManifest(target, body);
    return isKept
      ? { value: held, source: 'miss', ageMs: 0, reason: heldManifests.whyLost(body.digest) }
      : { value: held, source: 'bypass', ageMs: 0 };
  }

  /** Held, or lately said to be absent. */
  async #known(target: Target, digest: Digest): Promise<Answer<HeldManifest> | undefined> {
    const held = await this.find(target, digest);
    return held ? this.#hit(held) : this.#absences.answer(target, digest);
  }

  #hit<Held extends HeldManifest>(value: Held) {
    return { value, source: 'hit', ageMs: ageOf(value.storedAt, this.#parts.clock) } as const;
  }

  #remembered<Value>(target: Target, digest: Digest, answer: Answer<Value>): Answer<Value> {
    if (!answer.value) this.#absences.add(target, digest);
    return answer;
  }

  async #head(
    target: Target,
    digest: Digest,
    demand = INTERACTIVE,
  ): Promise<ManifestHead | undefined> {
    const { flight, upstreams } = this.#parts;
    return flight.do({ what: 'manifest by HEAD', of: target, about: digest, demand }, (asked) =>
      upstreams.of(target).upstream.headManifest(target.repository, digest, asked),
    );
  }

  /**
   * What a client is told of a platform's manifest at a site without a link: where a held index
   * lists it, the site has chosen not to mirror that platform, and no retry will bring it.
   */
  async #refusalOf(target: Target, digest: Digest, error: unknown): Promise<unknown> {
    if (!(error instanceof UpstreamError)) return error;
    if (error.isAbsence) this.#absences.add(target, digest, error);
    if (!error.isSilence) return error;
    const { catalog } = this.#parts;
    for await (const index of catalog.holdersIn(target, digest)) {
      const members = await catalog.members(index);
      const member = members?.successors.find((each) => each.digest === digest);
      if (!member) continue;
      const what = member.platform ?? TEXTS.thisManifest;
      if (error.fault !== 'offline') {
        const about = { repository: formatTarget(target), what, reason: error.reason };
        return error.withReason(TEXTS.awayAndWithout(about));
      }
      return new RegistryError('MANIFEST_UNKNOWN', {
        message: TEXTS.mirroredWithout({ repository: formatTarget(target), what }),
        detail: { upstream: target.upstream, digest, index, platform: member.platform },
        cause: error,
      });
    }
    return error;
  }
}

/** `undefined` for a HEAD that lacks what clients need: then a GET must tell. */
export function statOf({ digest, mediaType, size }: ManifestHead): ManifestStat | undefined {
  if (mediaType === undefined || size === undefined) return undefined;
  return { digest, mediaType, size };
}
