import { LRUCache } from 'lru-cache';
import { type Descriptor, weightOf } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { itemKey, type Repository, type Tag, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { INTERACTIVE, type Demand } from '../upstream/demand.ts';
import type { Answer } from './answer.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { GoneTags } from './gone-tags.ts';
import type { Policy } from './policy.ts';
import type { Question, SingleFlight } from './single-flight.ts';
import { TEXTS } from './texts.ts';
import type { Upstreams } from './upstreams.ts';

export interface ListingsParts {
  readonly upstreams: Upstreams;
  readonly catalog: Catalog;
  readonly flight: SingleFlight;
  readonly gone: GoneTags;
  readonly clock: Clock;
}

interface Listing<Item> {
  readonly items: readonly Item[] | undefined;
  /** A moment of the steady clock. */
  readonly since: number;
}

/** Memory of all remembered lists together: two of the longest that an upstream may give. */
const MAX_REMEMBERED_BYTES = 32 * 1024 * 1024;
/** Of one list beside its entries. */
const LIST_BYTES = 500;
const MAX_REMEMBERED_FAILURES = 1_000;
/** As many subjects as are asked about within the ttl of a list. */
const MAX_INCOMPLETE = 10_000;
/** Also where absences count for no time: what took thousands of requests is not repeated by the next client. */
const MIN_FAILURE_MS = 5_000;

/**
 * Lists that only an upstream knows in full; what is held stands in when it cannot be asked. One that
 * took many requests to fail is asked for again when an absence would be, and after 5 s at the least.
 */
export class Listings {
  readonly #parts: ListingsParts;
  readonly #remembered = new LRUCache<string, Listing<string | Descriptor>>({
    maxSize: MAX_REMEMBERED_BYTES,
    sizeCalculation: ({ items = [] }) => {
      let bytes = LIST_BYTES;
      for (const item of items) bytes += weightOf(item);
      return bytes;
    },
  });
  /** Failures that took many requests to learn. */
  readonly #failures: ExpiringMap<string, UpstreamError>;
  /** Subjects whose registry lately listed no referrers but those under the fallback tag. */
  readonly #incomplete = new LRUCache<string, true>({ max: MAX_INCOMPLETE });

  constructor(parts: ListingsParts) {
    this.#parts = parts;
    this.#failures = new ExpiringMap({ max: MAX_REMEMBERED_FAILURES, clock: parts.clock });
  }

  /** In byte order. `value` is `undefined` when the upstream has no such repository. */
  async tags(target: Target, demand: Demand = INTERACTIVE): Promise<Answer<readonly Tag[]>> {
    const { upstreams } = this.#parts;
    return this.#list({
      question: { what: 'tags', of: target, demand },
      ask: (asked) => upstreams.of(target).upstream.listTags(target.repository, asked),
      held: () => this.#heldTags(target),
      isNeverAbsent: false,
    });
  }

  async #heldTags(target: Target): Promise<Tag[]> {
    const { catalog, gone } = this.#parts;
    const held: Tag[] = [];
    for (const tag of await catalog.listTags(target)) {
      if (!(await gone.has(target, tag))) held.push(tag);
    }
    return held;
  }

  /**
   * Descriptors of the manifests whose subject is the digest, whether that is held or not. Where the
   * registry cannot list them, what is held is told beside what it says.
   */
  async referrers(
    target: Target,
    subject: Digest,
    demand: Demand = INTERACTIVE,
  ): Promise<Answer<readonly Descriptor[]>> {
    const { upstreams, catalog } = this.#parts;
    const key = itemKey(target, subject);
    const answer = await this.#list({
      question: { what: 'referrers', of: target, about: subject, demand },
      ask: async (asked) => {
        const { upstream } = upstreams.of(target);
        const told = await upstream.listReferrers(target.repository, subject, asked);
        if (told.isComplete) this.#incomplete.delete(key);
        else this.#incomplete.set(key, true);
        return told.referrers;
      },
      held: () => catalog.listReferrers(target, subject),
      isKnown: async () => catalog.isHeld({ target, digest: subject }),
      isNeverAbsent: true,
    });
    if (!answer.value || !this.#incomplete.has(key)) return answer;
    const all = new Map(answer.value.map((each) => [each.digest, each]));
    for (const each of await catalog.listReferrers(target, subject)) {
      if (!all.has(each.digest)) all.set(each.digest, each);
    }
    const value = [...all.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    return { ...answer, value };
  }

  /** In byte order. What is held stands in for registries that do not list their repositories. */
  async repositories(
    of: Pick<Target, 'upstream'>,
    demand: Demand = INTERACTIVE,
  ): Promise<Answer<readonly Repository[]>> {
    const { upstreams, catalog } = this.#parts;
    const held = async (): Promise<Repository[]> => catalog.listRepositories(of.upstream);
    const answer = await this.#list({
      question: { what: 'repositories', of, demand },
      ask: (asked) => upstreams.of(of).upstream.listRepositories(asked),
      held,
      isNeverAbsent: true,
    });
    if (answer.value) return answer;
    const warning = TEXTS.noCatalog(of);
    return { value: await held(), source: 'stale', warning };
  }

  async #list<Item extends string | Descriptor>(wanted: {
    question: Question;
    ask: (demand: Demand) => Promise<readonly Item[] | undefined>;
    held: () => Promise<readonly Item[]>;
    /** Whether what the list is about is held: that none of it is held is then known. */
    isKnown?: () => Promise<boolean>;
    isNeverAbsent: boolean;
  }): Promise<Answer<readonly Item[]>> {
    const { clock, upstreams } = this.#parts;
    const { what, of, about = '' } = wanted.question;
    const { policy } = upstreams.of(of);
    const key = `${what} ${of.upstream}/${of.repository ?? ''} ${about}`;
    // A key has lists of one type.
    const known = this.#remembered.get(key) as Listing<Item> | undefined;
    const ageMs = known && clock.steady() - known.since;
    if (known && isBelieved(known, ageMs, policy)) {
      return { value: known.items, source: known.items ? 'hit' : 'negative', ageMs };
    }
    const asking = this.#ask(key, wanted);
    // Looked up beside the question, which may fail before this is done.
    asking.catch(() => undefined);
    const held = await wanted.held();
    const standIn = known?.items ?? (held.length > 0 ? held : undefined);
    try {
      const items = await (standIn ? upstreams.withinDeadline(of, asking) : asking);
      return { value: items, source: 'miss' };
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.isAbsence) throw error;
      // A mirror that asks nobody has the last word where the spec knows no 404.
      const isLastWord = error.fault === 'offline' && wanted.isNeverAbsent;
      if (!standIn && !isLastWord) throw error;
      const isKnown = standIn !== undefined || (await wanted.isKnown?.());
      return {
        value: standIn ?? held,
        source: isKnown ? 'stale' : 'miss',
        warning: error.message,
        ...(known && { ageMs }),
      };
    }
  }

  async #ask<Item extends string | Descriptor>(
    key: string,
    {
      question,
      ask,
    }: { question: Question; ask: (demand: Demand) => Promise<readonly Item[] | undefined> },
  ): Promise<readonly Item[] | undefined> {
    const { flight, clock, upstreams } = this.#parts;
    const failure = this.#failures.get(key);
    if (failure) throw failure;
    return flight.do(question, async (asked) => {
      try {
        const items = await ask(asked);
        this.#remembered.set(key, { items, since: clock.steady() });
        return items;
      } catch (error) {
        if (error instanceof UpstreamError && error.isCostly) {
          const { negativeTtlMs } = upstreams.of(question.of).policy;
          this.#failures.set(key, error, Math.max(negativeTtlMs, MIN_FAILURE_MS));
        }
        throw error;
      }
    });
  }
}

/** An absence as long as any other one, a list as long as a tag. */
function isBelieved(known: Listing<unknown>, ageMs: number | undefined, policy: Policy): boolean {
  return known.items ? policy.isFresh(ageMs) : policy.isStillAbsent(ageMs);
}
