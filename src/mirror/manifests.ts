import type { Digest } from '../oci/digest.ts';
import { fallbackSubject } from '../oci/cosign.ts';
import {
  formatTarget,
  isDigestReference,
  type Reference,
  type Tag,
  type Target,
} from '../oci/reference.ts';
import type { Catalog, TagRecord } from '../store/catalog/catalog.ts';
import { INTERACTIVE, isInteractive, PRIORITY, type Demand } from '../upstream/demand.ts';
import type { ManifestBody, ManifestHead } from '../upstream/upstream.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Answer } from './answer.ts';
import { withinDeadline } from './deadline.ts';
import type { FallbackTags } from './fallback-tags.ts';
import type { HeldManifest, ManifestShelf } from './manifest-shelf.ts';
import type { ExpiringMap } from '../time/expiring-map.ts';
import type { SingleFlight } from './single-flight.ts';
import type { SourceRegistries } from './source-registry.ts';
import { explainSparse } from './sparse-index.ts';
import type { TagBook } from './tags.ts';

export interface ManifestsParts {
  readonly registries: SourceRegistries;
  readonly shelf: ManifestShelf;
  readonly catalog: Catalog;
  readonly tags: TagBook;
  readonly negatives: ExpiringMap<string, true>;
  readonly flight: SingleFlight;
  readonly fallbackTags: FallbackTags;
  /** Told of each manifest that a client got or asked about. */
  readonly pulled: (target: Target, digest: Digest) => void;
  readonly now: () => number;
}

/** What a HEAD needs. */
export interface ManifestStat {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/** Of a held tag that is still usable: no client waits for it. */
const REVALIDATION: Demand = { priority: PRIORITY.hydration };

/** What an upstream said of a tag that it has. */
interface Word {
  /** Left out: only a GET can tell. */
  readonly digest?: Digest;
  readonly checkedAt: number;
  /** The upstream is a mirror that could not ask itself. */
  readonly warning?: string;
}

/**
 * Manifests by tag and by digest. A digest is immutable: held is answered. A tag is believed as
 * long as the policy says; then the upstream is asked by HEAD, which costs no quota, and only an
 * unknown digest is fetched.
 */
export class Manifests {
  readonly #parts: ManifestsParts;

  constructor(parts: ManifestsParts) {
    this.#parts = parts;
  }

  /** Throws `UpstreamError` when it is not held and the upstream cannot say. */
  async get(target: Target, reference: Reference): Promise<Answer<HeldManifest>> {
    const answer = await (isDigestReference(reference)
      ? this.#getDigest(target, reference)
      : this.#orMade(target, reference, () =>
          this.#byTag(target, reference, () => this.#refresh(target, reference)),
        ));
    if (answer.value) this.#parts.pulled(target, answer.value.digest);
    return answer;
  }

  /** As `get`, but what is not held is only asked for by HEAD. */
  async stat(target: Target, reference: Reference): Promise<Answer<ManifestStat>> {
    const answer = await (isDigestReference(reference)
      ? this.#statDigest(target, reference)
      : this.#orMade<ManifestStat>(target, reference, () =>
          this.#byTag<ManifestStat>(target, reference, () => this.#look(target, reference)),
        ));
    if (answer.value) this.#parts.pulled(target, answer.value.digest);
    return answer;
  }

  /** Holds a manifest that no client waits for. False when the upstream has none. */
  async fetchBehind(target: Target, digest: Digest, demand: Demand): Promise<boolean> {
    const { value, source } = await this.#fetch(target, digest, demand);
    if (source === 'bypass') throw new Error(`${digest} was fetched and could not be kept`);
    return value !== undefined;
  }

  /** What a tag means now, with its manifest held, while no client waits for it. */
  async resolveBehind(target: Target, tag: Tag, demand: Demand): Promise<Digest | undefined> {
    return (await this.#refresh(target, tag, demand)).value?.digest;
  }

  /** A fallback tag of referrers exists wherever there are referrers. */
  async #orMade<Value>(
    target: Target,
    tag: Tag,
    find: () => Promise<Answer<Value | HeldManifest>>,
  ): Promise<Answer<Value | HeldManifest>> {
    const subject = fallbackSubject(tag);
    if (!subject) return find();
    const found = find();
    const answer = await found.catch(() => undefined);
    if (answer?.value) return answer;
    const made = await this.#parts.fallbackTags.make(target, subject).catch(() => undefined);
    return made?.value ? made : found;
  }

  async #getDigest(target: Target, digest: Digest): Promise<Answer<HeldManifest>> {
    const held = await this.#parts.shelf.find(target, digest);
    if (held) return { value: held, source: 'hit', ageMs: this.#age(held.storedAt) };
    return this.#unlessSparse(target, digest, () =>
      this.#unlessNegative(target, digest, () => this.#fetch(target, digest)),
    );
  }

  async #statDigest(target: Target, digest: Digest): Promise<Answer<ManifestStat>> {
    const held = await this.#parts.shelf.find(target, digest);
    if (held) return { value: held, source: 'hit', ageMs: this.#age(held.storedAt) };
    const ask = async (): Promise<Answer<ManifestStat>> => {
      const head = await this.#head(target, digest);
      const stat = head && complete(head);
      return head && !stat ? this.#fetch(target, digest) : { value: stat, source: 'miss' };
    };
    return this.#unlessSparse(target, digest, () => this.#unlessNegative(target, digest, ask));
  }

  async #unlessSparse<Value>(
    target: Target,
    digest: Digest,
    find: () => Promise<Answer<Value>>,
  ): Promise<Answer<Value>> {
    try {
      return await find();
    } catch (error) {
      throw await explainSparse(this.#parts.catalog, { target, digest }, error);
    }
  }

  /** The policy of tags: `ask` is how the upstream is asked when the held copy does not do. */
  async #byTag<Value extends ManifestStat>(
    target: Target,
    tag: Tag,
    ask: () => Promise<Answer<Value>>,
  ): Promise<Answer<Value | HeldManifest>> {
    const { policy } = this.#parts.registries.of(target);
    const record = await this.#parts.tags.find(target, tag);
    const held = record && (await this.#parts.shelf.find(target, record.digest));
    if (!held) return this.#unlessNegative(target, tag, ask);
    const ageMs = this.#age(record.checkedAt);
    const freshness = policy.judge(target.repository, tag, ageMs);
    if (freshness === 'fresh') return { value: held, source: 'hit', ageMs };
    if (freshness === 'usable') {
      // Its failure shows in the metrics of the upstream and, once it matters, to a client.
      this.#refresh(target, tag, REVALIDATION).catch(() => undefined);
      return { value: held, source: 'stale', ageMs, warning: 'being revalidated' };
    }
    return this.#revalidate(target, tag, { held, record, ask });
  }

  async #revalidate<Value>(
    target: Target,
    tag: Tag,
    copy: { held: HeldManifest; record: TagRecord; ask: () => Promise<Answer<Value>> },
  ): Promise<Answer<Value | HeldManifest>> {
    const { registries } = this.#parts;
    const ageMs = this.#age(copy.record.checkedAt);
    const question = this.#unlessNegative(target, tag, copy.ask);
    // Too old to stand in: the answer is worth any wait.
    if (!registries.of(target).policy.mayServeStale(ageMs)) return question;
    try {
      return await withinDeadline(registries, target, question);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      return { value: copy.held, source: 'stale', ageMs, warning: error.message };
    }
  }

  /** What the tag means now, with its manifest held. Shared by all who ask at once. */
  async #refresh(
    target: Target,
    tag: Tag,
    demand: Demand = INTERACTIVE,
  ): Promise<Answer<HeldManifest>> {
    return this.#parts.flight.do(flightKey('refresh', target, tag, demand), async () => {
      const heard = await this.#hear(target, tag, demand);
      if (!heard) return { value: undefined, source: 'miss' };
      const { digest, checkedAt, warning } = heard;
      const held = digest && (await this.#parts.shelf.find(target, digest));
      if (held) return this.#confirm(target, tag, { held, ...heard });
      let fetched = await this.#fetch(target, digest ?? tag, demand);
      // The tag has moved since, and what it meant is gone.
      if (!fetched.value && digest) fetched = await this.#fetch(target, tag, demand);
      if (fetched.value && fetched.source !== 'bypass') {
        await this.#parts.tags.record(target, tag, { digest: fetched.value.digest, checkedAt });
      }
      if (warning === undefined) return fetched;
      return { ...fetched, ageMs: this.#age(checkedAt), warning };
    });
  }

  /** What the tag means now, without fetching what is not held. */
  async #look(target: Target, tag: Tag): Promise<Answer<ManifestStat>> {
    return this.#parts.flight.do(`look ${formatTarget(target)} ${tag}`, async () => {
      const { tags, shelf } = this.#parts;
      const word = await this.#ask(target, tag);
      if (!word) return { value: undefined, source: 'miss' };
      const held = word.digest && (await shelf.find(target, word.digest));
      if (held) return this.#confirm(target, tag, { held, ...word });
      const stat = complete(word.head);
      if (!stat) return this.#fetch(target, tag);
      tags.hear(target, tag, { digest: stat.digest, checkedAt: word.checkedAt });
      return { value: stat, source: 'miss', ...(word.warning && { warning: word.warning }) };
    });
  }

  /**
   * The upstream's word on a tag, a moment old where a HEAD was just answered: clients send HEAD
   * and GET in a row.
   */
  async #hear(target: Target, tag: Tag, demand: Demand): Promise<Word | undefined> {
    return this.#parts.tags.heard(target, tag) ?? this.#ask(target, tag, demand);
  }

  /** Throws when the upstream is a mirror whose copy is older than this one's policy lets pass. */
  async #ask(
    target: Target,
    tag: Tag,
    demand: Demand = INTERACTIVE,
  ): Promise<(Word & { head: ManifestHead }) | undefined> {
    const askedAt = this.#parts.now();
    const head = await this.#head(target, tag, demand);
    if (!head) return undefined;
    const { digest, copy } = head;
    const { policy, upstream } = this.#parts.registries.of(target);
    const reason = `its mirror says: ${copy?.warning}`;
    if (copy && !policy.mayServeStale(copy.ageMs)) {
      throw new UpstreamError(upstream.name, 'failing', reason);
    }
    return {
      head,
      checkedAt: askedAt - (copy?.ageMs ?? 0),
      ...(digest && { digest }),
      ...(copy && { warning: `${upstream.name}: ${reason}` }),
    };
  }

  async #confirm(
    target: Target,
    tag: Tag,
    { held, checkedAt, warning }: Word & { held: HeldManifest },
  ): Promise<Answer<HeldManifest>> {
    const { tags } = this.#parts;
    const previous = await tags.find(target, tag);
    const isSame = previous?.digest === held.digest;
    if (isSame && warning !== undefined) {
      // Nobody has confirmed it again.
      const ageMs = this.#age(Math.max(previous.checkedAt, checkedAt));
      return { value: held, source: 'stale', ageMs, warning };
    }
    await tags.record(target, tag, { digest: held.digest, checkedAt });
    const answer: Answer<HeldManifest> = {
      value: held,
      source: isSame ? 'revalidated' : 'miss',
      ageMs: this.#age(checkedAt),
    };
    return warning === undefined ? answer : { ...answer, warning };
  }

  /** By digest wherever it is known, so that all who want the same manifest share one request. */
  async #fetch(
    target: Target,
    reference: Reference,
    demand: Demand = INTERACTIVE,
  ): Promise<Answer<HeldManifest>> {
    const { flight, registries, shelf } = this.#parts;
    return flight.do(flightKey('fetch', target, reference, demand), async () => {
      if (isDigestReference(reference) && (await shelf.mayHold(reference))) {
        // Held because of another repository: a HEAD, which is free, shows that this one has it too.
        const head = await this.#head(target, reference, demand);
        if (!head) return { value: undefined, source: 'miss' };
        const body = head.mediaType && (await shelf.readBody(target, reference, head.mediaType));
        if (body) return this.#keep(target, body, demand);
      }
      const { upstream } = registries.of(target);
      const body = await upstream.getManifest(target.repository, reference, demand);
      return body ? this.#keep(target, body, demand) : { value: undefined, source: 'miss' };
    });
  }

  async #keep(target: Target, body: ManifestBody, demand: Demand): Promise<Answer<HeldManifest>> {
    const tags = this.#parts.tags.takeHeardOf(target, body.digest);
    const isPulled = isInteractive(demand);
    const { held, isKept } = await this.#parts.shelf.put(target, body, { tags, isPulled });
    return { value: held, source: isKept ? 'miss' : 'bypass', ageMs: 0 };
  }

  async #head(
    target: Target,
    reference: Reference,
    demand: Demand = INTERACTIVE,
  ): Promise<ManifestHead | undefined> {
    const { flight, registries } = this.#parts;
    return flight.do(flightKey('head', target, reference, demand), () =>
      registries.of(target).upstream.headManifest(target.repository, reference, demand),
    );
  }

  async #unlessNegative<Value>(
    target: Target,
    reference: Reference,
    ask: () => Promise<Answer<Value>>,
  ): Promise<Answer<Value>> {
    const { negatives, registries } = this.#parts;
    const key = `manifest ${formatTarget(target)} ${reference}`;
    if (negatives.has(key)) return { value: undefined, source: 'negative' };
    const answer = await ask();
    if (!answer.value) negatives.set(key, true, registries.of(target).policy.negativeTtlMs);
    return answer;
  }

  #age(since: number): number {
    return this.#parts.now() - since;
  }
}

/** What no client waits for may be refused for the sake of those that one does: never shared. */
function flightKey(
  work: 'refresh' | 'fetch' | 'head',
  target: Target,
  reference: Reference,
  demand: Demand,
): string {
  return `${work}${isInteractive(demand) ? '' : ' behind'} ${formatTarget(target)} ${reference}`;
}

/** A HEAD that lacks what clients need is no answer: then a GET must tell. */
function complete(head: ManifestHead): ManifestStat | undefined {
  const { digest, mediaType, size } = head;
  if (digest === undefined || mediaType === undefined || size === undefined) return undefined;
  return { digest, mediaType, size };
}
