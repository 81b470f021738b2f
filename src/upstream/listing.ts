import { parseJsonObject } from '../net/content-coding.ts';
import { type Descriptor, weightOf, readDescriptor } from '../oci/descriptor.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Demand } from './demand.ts';
import type { RegistryClient, SmallResponse } from './registry-client.ts';
import type { RegistryRequestKind } from './registry-sender.ts';
import { TEXTS } from './texts.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { essence, OCI_INDEX } from '../oci/media-types.ts';
import type { ReferrerList } from './upstream.ts';

export interface ListingParts {
  readonly upstream: string;
  readonly client: RegistryClient;
}

export interface ListingRequest {
  readonly kind: Extract<RegistryRequestKind, 'tags' | 'referrers' | 'catalog'>;
  /** Below `/v2/`, without a query. */
  readonly path: string;
  readonly scope: string;
  readonly accept: string;
  readonly demand: Demand;
  /** The field of each page's document that lists. */
  readonly field: 'tags' | 'repositories' | 'manifests';
  /** Entries to ask for in one page (`n`); without it the registry decides. */
  readonly pageSize?: number;
}

export interface Page<Entry> {
  /** `undefined` when the first document has no such list; a later one must have it. */
  readonly entries: readonly Entry[] | undefined;
  readonly contentType: string | undefined;
}

/** Pages of a hundred names, as Quay has them, of as many names as are read at most. */
const MAX_PAGES = 2_000;
/**
 * The spec has registries divide what is larger. JSON takes up to thirty times its size in memory
 * while it is parsed, which a heap of 256 MiB survives.
 */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
/** Memory of one listing, and of all that are read at once but where each has less than its share. */
const MAX_WEIGHT = 16 * 1024 * 1024;
const MAX_ENTRIES = 200_000;
/** What took more requests than this to fail would take as many again. */
const FEW_PAGES = 10;

interface Reading {
  readonly visited: Set<string>;
  entries: number;
  weight: number;
}

/**
 * Reads the listings of one registry page by page. A whole listing has an end in pages, entries and
 * memory, whatever the registry says; one that is too long or goes in a circle is a `bad-response`.
 * The end in time is for whoever asks for it to set.
 */
export class ListingReader {
  readonly #parts: ListingParts;
  /** Listings that are being read, and their weight. */
  #readings = 0;
  #weight = 0;

  constructor(parts: ListingParts) {
    this.#parts = parts;
  }

  /** The names in a listing, each once, in byte order; `undefined` when there is no such listing. */
  async names<Name extends string>(
    wanted: ListingRequest,
    read: (name: string) => Name | undefined,
  ): Promise<Name[] | undefined> {
    const names = new Set<Name>();
    let pages = 0;
    // Some servers write tags of digits as numbers.
    const readName = (entry: unknown): Name | undefined =>
      typeof entry === 'string' || typeof entry === 'number' ? read(String(entry)) : undefined;
    for await (const { entries } of this.pages(wanted, readName)) {
      if (!entries) throw this.#badResponse(TEXTS.listWithout(wanted));
      pages += 1;
      for (const name of entries) names.add(name);
    }
    return pages === 0 ? undefined : [...names].toSorted((a, b) => (a < b ? -1 : 1));
  }

  /**
   * The pages as far as the registry's `Link` leads, with what `read` makes of their entries; none
   * when it says 404. Throws `bad-response` for what is no JSON object.
   */
  async *pages<Entry extends string | Descriptor>(
    wanted: ListingRequest,
    read: (entry: unknown) => Entry | undefined,
  ): AsyncGenerator<Page<Entry>> {
    const { client } = this.#parts;
    const { pageSize } = wanted;
    const reading = { visited: new Set<string>(), entries: 0, weight: 0 };
    this.#readings += 1;
    try {
      let path: string | undefined =
        pageSize === undefined ? wanted.path : `${wanted.path}?n=${pageSize}`;
      while (path !== undefined) {
        this.#visit(reading, path);
        const response: SmallResponse = await this.#request(wanted, path);
        if (response.status === 404) {
          if (reading.visited.size > 1) throw this.#badResponse(TEXTS.listWithout(wanted));
          return;
        }
        wanted.demand.advanced?.();
        yield this.#parse(response, { wanted, read, reading });
        const next = nextPage(response.headers['link'], response.url, client.base, path);
        path = next === path ? undefined : next;
      }
    } catch (error) {
      throw reading.visited.size > FEW_PAGES ? asCostly(error) : error;
    } finally {
      this.#readings -= 1;
      this.#weight -= reading.weight;
    }
  }

  async #request(
    { kind, scope, accept, demand }: ListingRequest,
    path: string,
  ): Promise<SmallResponse> {
    return this.#parts.client.read(
      { kind, method: 'GET', path, scope, headers: { accept }, demand },
      MAX_PAGE_BYTES,
    );
  }

  #visit(reading: Reading, path: string): void {
    const { visited } = reading;
    if (visited.has(path)) throw this.#tooLong(TEXTS.pagesInCircle);
    if (visited.size === MAX_PAGES) throw this.#tooLong(TEXTS.tooManyPages({ most: MAX_PAGES }));
    visited.add(path);
    this.#weigh(reading, path);
  }

  #parse<Entry extends string | Descriptor>(
    { bytes, headers, url, release }: SmallResponse,
    {
      wanted,
      read,
      reading,
    }: {
      wanted: ListingRequest;
      read: (entry: unknown) => Entry | undefined;
      reading: Reading;
    },
  ): Page<Entry> {
    const { host } = url;
    if (!bytes) throw this.#tooLong(TEXTS.pageTooLarge({ host, bytes: MAX_PAGE_BYTES }));
    const document = parseJsonObject(bytes);
    release();
    if (!document) throw this.#badResponse(TEXTS.noList({ host, kind: wanted.kind }));
    const contentType = headers['content-type'];
    // Servers written in Go say null for an empty list.
    const listed = document[wanted.field] ?? [];
    if (!Array.isArray(listed)) {
      if (reading.visited.size > 1) throw this.#badResponse(TEXTS.listWithout(wanted));
      return { entries: undefined, contentType };
    }
    const entries: Entry[] = [];
    for (const item of listed) {
      const entry = read(item);
      if (entry === undefined) continue;
      reading.entries += 1;
      if (reading.entries > MAX_ENTRIES)
        throw this.#tooLong(TEXTS.tooManyEntries({ most: MAX_ENTRIES }));
      this.#weigh(reading, entry);
      entries.push(entry);
    }
    return { entries, contentType };
  }

  /** The largest ones pay for all that are read at once. */
  #weigh(reading: Reading, entry: string | Descriptor): void {
    const weight = weightOf(entry);
    reading.weight += weight;
    this.#weight += weight;
    if (this.#weight <= MAX_WEIGHT || reading.weight <= MAX_WEIGHT / this.#readings) return;
    throw this.#tooLong(TEXTS.tooMuchMemory({ bytes: MAX_WEIGHT }));
  }

  #tooLong(reason: string): UpstreamError {
    return new UpstreamError(this.#parts.upstream, 'bad-response', reason, { isCostly: true });
  }

  #badResponse(reason: string): UpstreamError {
    return new UpstreamError(this.#parts.upstream, 'bad-response', reason);
  }
}

function asCostly(error: unknown): unknown {
  if (!(error instanceof UpstreamError)) return error;
  const { upstream, fault, reason, status, retryAfterMs } = error;
  const options = { status, retryAfterMs, isCostly: true, cause: error };
  return new UpstreamError(upstream, fault, reason, options);
}

/**
 * The next page of a listing, as a path below the registry's `/v2/`; `undefined` at the end.
 * Registries behind a proxy write internal hosts into absolute links, so only path and query count:
 * no link leads to another host. Where a gateway led from the path that was `asked` to one in a folder of
 * another registry, the link is read without that folder, which the gateway adds again.
 * @see https://www.rfc-editor.org/rfc/rfc8288
 */
export function nextPage(
  link: string | undefined,
  page: URL,
  base: URL,
  asked = '',
): string | undefined {
  const match = /<([^>]*)>[^,]*;\s*rel="?next"?/i.exec(link ?? '');
  const address = match?.[1];
  if (address === undefined || !URL.canParse(address, page)) return undefined;
  const next = new URL(address, page);
  const [end = ''] = asked.split('?', 1);
  const folder = page.pathname.endsWith(`/${end}`) ? page.pathname.slice(0, -end.length) : '';
  const isInside = folder !== '' && next.pathname.startsWith(folder);
  const from = isInside ? folder.length : next.pathname.indexOf('/v2/') + '/v2/'.length;
  if (!isInside && !next.pathname.includes('/v2/')) return undefined;
  const path = `${next.pathname.slice(from)}${next.search}`;
  const rebased = URL.parse(path, base)?.href;
  return rebased?.startsWith(base.href) && rebased !== page.href ? path : undefined;
}

interface ReferrersParts {
  readonly listings: ListingReader;
  readonly clock: Clock;
}

/** A request for the referrers of one subject. */
interface ReferrersRequest {
  /** Below `/v2/`. */
  readonly path: string;
  readonly scope: string;
  readonly demand: Demand;
  /** The descriptors of the index under the fallback tag; empty when there is no such tag. */
  readonly fallback: () => Promise<readonly Descriptor[]>;
}

const MAX_REMEMBERED = 10_000;
/** Statuses, beside 404, of registries that have no such API. */
const NO_API: ReadonlySet<number> = new Set([405, 406, 501]);
/** And of those that cannot answer it for this subject: Quay's 400, and what a router refuses. */
const NO_ANSWER: ReadonlySet<number> = new Set([...NO_API, 400, 414, 415]);
/** How long a registry is taken to have no such API: it may be upgraded. */
const REMEMBER_MS = 6 * 3_600_000;

/**
 * Referrers as the distribution spec defines them: the API where the registry has one, which is
 * probed and remembered for each repository of it, together with the tag that clients of registries
 * without it write. A registry says the same of a repository that it does not have: that is no word
 * about the one beside it.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export class Referrers {
  readonly #parts: ReferrersParts;
  /** Repositories that are taken to have no API. */
  readonly #without: ExpiringMap<string, true>;

  constructor(parts: ReferrersParts) {
    this.#parts = parts;
    this.#without = new ExpiringMap({ max: MAX_REMEMBERED, clock: parts.clock });
  }

  /** Throws `UpstreamError` when neither way could be asked. */
  async list(wanted: ReferrersRequest): Promise<ReferrerList> {
    const repository = wanted.path.slice(0, wanted.path.lastIndexOf('/referrers/'));
    const isWithout = this.#without.has(repository);
    const listed = isWithout ? undefined : await this.#ask(wanted, repository);
    const tagged = await wanted.fallback().catch((error: unknown) => {
      if (listed) return [];
      throw error;
    });
    const all = new Map([...tagged, ...(listed ?? [])].map((entry) => [entry.digest, entry]));
    const referrers = [...all.values()].toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    return { referrers, isComplete: listed !== undefined };
  }

  /** `undefined` when the registry does not have the API. */
  async #ask(
    { path, scope, demand }: ReferrersRequest,
    repository: string,
  ): Promise<Descriptor[] | undefined> {
    const wanted = {
      kind: 'referrers',
      field: 'manifests',
      path,
      scope,
      accept: OCI_INDEX,
      demand,
    } as const;
    let found: Descriptor[] | undefined;
    try {
      for await (const page of this.#parts.listings.pages(wanted, readDescriptor)) {
        if (found) {
          for (const entry of page.entries ?? []) found.push(entry);
        } else if (page.entries && essence(page.contentType) === OCI_INDEX) {
          found = [...page.entries];
        } else return undefined;
      }
    } catch (error) {
      // What a later page says is no word about the API, nor that there is too much of it.
      if (!(error instanceof UpstreamError) || error.isCostly || found) throw error;
      const { fault, status = 0 } = error;
      if (fault !== 'bad-response' && !NO_ANSWER.has(status)) throw error;
      // Not remembered: a page with 200, as Google's registries have sent, may be a portal on the
      // way, and Quay's 400 is about this subject alone.
      if (!NO_API.has(status)) return undefined;
    }
    if (!found) this.#without.set(repository, true, REMEMBER_MS);
    return found;
  }
}
