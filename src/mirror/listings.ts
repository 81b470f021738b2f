import { LRUCache } from 'lru-cache';
import { type Descriptor, weightOf } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { formatTarget, itemKey, type Repository, type Tag, type Target } from '../oci/reference.ts';
import type { Health } from '../store/care/care.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { INTERACTIVE, type Demand } from '../upstream/demand.ts';
import type { Answer } from './answer.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { RecentMap } from '../time/recent-map.ts';
import type { GoneTags } from './absences.ts';
import type { Policy } from './policy.ts';
import type { Question, SingleFlight } from './single-flight.ts';
import { TEXTS } from './texts.ts';
import type { Upstreams } from './upstreams.ts';

export interface ListingsParts {
  readonly upstreams: Upstreams;
  readonly catalog: Catalog;
  readonly flight: SingleFlight;
  readonly gone: GoneTags;
  readonly health: Health;
  readonly clock: Clock;
}

interface Listing<Item> {
  readonly items: readonly Item[] | undefined;
  /** A moment of the steady clock; left out of an earlier run's. */
  readonly since?: number;
}

/** What `#list` is to answer. */
interface Wanted<Item> {
  readonly question: Question;
  readonly ask: (demand: Demand) => Promise<readonly Item[] | undefined>;
  readonly held: () => Promise<readonly Item[]>;
  /** Whether what the list is about is held: that none of it is held is then known. */
  readonly isKnown?: () => Promise<boolean>;
  readonly isNeverAbsent: boolean;
}

/** Memory of all remembered lists together: two of the longest that an upstream may give. */
const MAX_REMEMBERED_BYTES = 32 * 1024 * 1024;
/** Most lists of tags that count as the registry's last word. */
const MAX_WHOLE = 1_000;
/** What one list takes in memory beside its entries. */
const LIST_BYTES = 500;
const MAX_REMEMBERED_FAILURES = 1_000;
/** As many subjects as are asked about within the ttl of a list. */
const MAX_INCOMPLETE = 10_000;
/** Also where absences count for no time: what took thousands of requests is not repeated by the next client. */
const MIN_FAILURE_MS = 5_000;
/** Tags that a warning names. */
const MAX_NAMED = 5;

/**
 * Lists that only an upstream knows in full; what is held stands in when it cannot be asked. One that
 * took many requests to fail is asked for again when an absence would be, and after 5 s at the least.
 */
export class Listings {
  readonly #parts: ListingsParts;
  readonly #remembered = new LRUCache<string, Listing<string | Descriptor>>({
    maxSize: MAX_REMEMBERED_BYTES,
    sizeCalculation: ({ items = [] }) => bytesOf(items),
  });
  /** All tags of a repository, for as long as a 404 would count that named one of them. */
  readonly #whole: ExpiringMap<string, readonly Tag[]>;
  /** Failures that took many requests to learn. */
  readonly #failures: ExpiringMap<string, UpstreamError>;
  /** Subjects whose registry lately listed no referrers but those under the fallback tag. */
  readonly #incomplete = new RecentMap<string, true>(MAX_INCOMPLETE);

  constructor(parts: ListingsParts) {
    this.#parts = parts;
    const { clock } = parts;
    this.#whole = new ExpiringMap({ max: MAX_WHOLE, maxBytes: MAX_REMEMBERED_BYTES, clock });
    this.#failures = new ExpiringMap({ max: MAX_REMEMBERED_FAILURES, clock });
  }

  /**
   * In byte order. `value` is `undefined` when the upstream has no such repository. What it says of tags is
   * kept for the time when it cannot be asked. A tag that is answered here whatever it says is listed too.
   */
  async tags(target: Target, demand: Demand = INTERACTIVE): Promise<Answer<readonly Tag[]>> {
    let absence: UpstreamError | undefined;
    await this.#toldTags(target);
    const answer = await this.#list({
      question: { what: 'tags', of: target, demand },
      ask: async (asked) => this.askTags(target, asked),
      held: () => this.#heldTags(target),
      isNeverAbsent: false,
    }).catch((error: unknown): Answer<readonly Tag[]> => {
      if (!(error instanceof UpstreamError && error.isAbsence)) throw error;
      absence = error;
      return { value: undefined, source: 'miss' };
    });
    const listed = await this.#withHeld(target, answer);
    if (absence && !listed.value) throw absence;
    return listed;
  }

  async #heldTags(target: Target): Promise<Tag[]> {
    const { catalog, gone } = this.#parts;
    const tags = await catalog.listTags(target);
    const records = await catalog.findTags(target, tags);
    return tags.filter((tag, place) => {
      const record = records[place];
      return record?.goneAt === undefined || gone.isKept(target, tag, record.digest);
    });
  }

  /** From the upstream, not from memory. `most`: pages that are read; a longer list is not kept. */
  async askTags(
    target: Target,
    demand: Demand,
    most?: number,
  ): Promise<readonly Tag[] | undefined> {
    const { upstreams, catalog, health, clock } = this.#parts;
    const { upstream, policy } = upstreams.of(target);
    const askedAt = clock.steady();
    const listed = await upstream.listTags(target.repository, demand, most);
    const tags = listed?.names;
    if (tags && listed.isWhole) {
      const left = policy.negativeTtlMs - (clock.steady() - askedAt);
      this.#whole.set(formatTarget(target), tags, left, bytesOf(tags));
    }
    const isKept = most === undefined || listed?.isWhole !== false;
    if (isKept) await health.recorded(catalog.recordTagList(target, tags, clock.wall()));
    return tags;
  }

  /** Whether the upstream just listed the tag; `undefined` where no whole list is as young as a 404 would have to be. */
  isListed(target: Target, tag: Tag): boolean | undefined {
    const tags = this.#whole.get(formatTarget(target));
    return tags && hasItem(tags, tag);
  }

  /** Whether all tags that the upstream last told are known, and this is none of them. */
  async isUntold(target: Target, tag: Tag): Promise<boolean> {
    const told = await this.#toldTags(target);
    return told !== undefined && !hasItem(told, tag);
  }

  /** The tags that the upstream last listed, in this run or before. */
  async #toldTags(target: Target): Promise<readonly Tag[] | undefined> {
    const key = keyOf({ what: 'tags', of: target });
    const known = this.#remembered.get(key) as Listing<Tag> | undefined;
    if (known) return known.items;
    const items = await this.#parts.catalog.findTagList(target).catch(() => undefined);
    // One that was told meanwhile counts.
    if (items && !this.#remembered.has(key)) this.#remembered.set(key, { items });
    return items;
  }

  /**
   * The list with what a pull would be answered: the tags that are held and were confirmed after it was
   * told, or that are kept whatever it says, and without those that are gone since.
   */
  async #withHeld(target: Target, answer: Answer<readonly Tag[]>): Promise<Answer<readonly Tag[]>> {
    const { catalog, clock, gone, upstreams } = this.#parts;
    const { policy } = upstreams.of(target);
    const { value: listed = [], source, ageMs = Infinity } = answer;
    const toldAt = source === 'miss' ? Infinity : clock.wall() - ageMs;
    const tags = new Set(listed);
    const kept: Tag[] = [];
    const known = await catalog.listTags(target);
    const records = await catalog.findTags(target, known);
    for (const [place, tag] of known.entries()) {
      const record = records[place];
      if (!record) continue;
      const isKept = gone.isKept(target, tag, record.digest);
      const goneAt = isKept ? undefined : record.goneAt;
      if (goneAt !== undefined && goneAt >= toldAt) tags.delete(tag);
      if (goneAt !== undefined || tags.has(tag)) continue;
      if (isKept || policy.isImmutable(target.repository, tag)) kept.push(tag);
      else if (record.checkedAt <= toldAt) continue;
      tags.add(tag);
    }
    if (tags.size === 0 && !answer.value) return answer;
    const value = [...tags].toSorted(inByteOrder);
    if (kept.length === 0 || source === 'stale') return { ...answer, value };
    const warning = TEXTS.keptBeside({ ...target, tags: kept.slice(0, MAX_NAMED).join(', ') });
    return { ...answer, value, source: answer.value ? source : 'stale', warning };
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
    const value = [...all.values()].toSorted((a, b) => inByteOrder(a.digest, b.digest));
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

  async #list<Item extends string | Descriptor>(
    wanted: Wanted<Item>,
  ): Promise<Answer<readonly Item[]>> {
    const { clock, upstreams } = this.#parts;
    const { of } = wanted.question;
    const { policy } = upstreams.of(of);
    const key = keyOf(wanted.question);
    // A key has lists of one type.
    const known = this.#remembered.get(key) as Listing<Item> | undefined;
    const ageMs = known?.since === undefined ? undefined : clock.steady() - known.since;
    const isAnew = wanted.question.demand?.isAnew;
    if (known && !isAnew && isBelieved(known, ageMs, policy)) {
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
        failure: error,
        ...(ageMs !== undefined && { ageMs }),
      };
    }
  }

  async #ask<Item extends string | Descriptor>(
    key: string,
    { question, ask }: Pick<Wanted<Item>, 'question' | 'ask'>,
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

function keyOf({ what, of, about = '' }: Question): string {
  return `${what} ${of.upstream}/${of.repository ?? ''} ${about}`;
}

function inByteOrder(a: string, b: string): number {
  return a < b ? -1 : 1;
}

/** Memory that a list takes. */
function bytesOf(items: readonly (string | Descriptor)[]): number {
  let bytes = LIST_BYTES;
  for (const item of items) bytes += weightOf(item);
  return bytes;
}

/** Whether a list in byte order has the item; the list may be long. */
function hasItem(list: readonly string[], item: string): boolean {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! < item) low = middle + 1;
    else high = middle;
  }
  return list[low] === item;
}
