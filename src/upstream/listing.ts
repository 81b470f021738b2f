import { parseJsonObject } from '../net/content-coding.ts';
import { type Descriptor, weightOf } from '../oci/descriptor.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Demand } from './demand.ts';
import type { RegistryClient, SmallResponse } from './registry-client.ts';
import type { RegistryRequestKind } from './registry-sender.ts';
import { TEXTS } from './texts.ts';

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
  /** A list that is longer is not read to its end. */
  readonly mostPages?: number | undefined;
}

/** Names, each once, in byte order. */
export interface NameList<Name extends string> {
  readonly names: Name[];
  /** Every page came, and each from the registry itself: it has nothing else. */
  readonly isWhole: boolean;
}

export interface Page<Entry> {
  /** `undefined` when the first document has no such list; a later one must have it. */
  readonly entries: readonly Entry[] | undefined;
  readonly contentType: string | undefined;
  /** It may be followed by what was not read, or is a copy that a cache kept. */
  readonly isDoubtful: boolean;
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

  /** `undefined` when there is no such listing. */
  async names<Name extends string>(
    wanted: ListingRequest,
    read: (name: string) => Name | undefined,
  ): Promise<NameList<Name> | undefined> {
    try {
      return await this.#names(wanted, read);
    } catch (error) {
      // Some refuse a page size that is beyond their own.
      if (!(error instanceof UpstreamError) || error.status !== 400) throw error;
      const { pageSize: _, ...request } = wanted;
      return this.#names(request, read);
    }
  }

  async #names<Name extends string>(
    wanted: ListingRequest,
    read: (name: string) => Name | undefined,
  ): Promise<NameList<Name> | undefined> {
    const names = new Set<Name>();
    let pages = 0;
    let isWhole = true;
    // Some servers write tags of digits as numbers.
    const readName = (entry: unknown): Name | undefined =>
      typeof entry === 'string' || typeof entry === 'number' ? read(String(entry)) : undefined;
    for await (const { entries, isDoubtful } of this.pages(wanted, readName)) {
      if (!entries) throw this.#badResponse(TEXTS.listWithout(wanted));
      pages += 1;
      if (isDoubtful) isWhole = false;
      for (const name of entries) names.add(name);
    }
    if (pages === 0) return undefined;
    return { names: [...names].toSorted((a, b) => (a < b ? -1 : 1)), isWhole };
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
    const { pageSize, mostPages } = wanted;
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
        const next = nextPage(response.headers['link'], response.url, client.base, path);
        const isCut = next !== undefined && reading.visited.size === mostPages;
        const page = this.#parse(response, { wanted, read, reading });
        // A full page without a successor is how a registry cuts a list that knows no pages.
        const isFull = next === undefined && page.count === pageSize;
        yield { ...page, isDoubtful: isCut || isFull || isCopy(response) };
        path = next === path || isCut ? undefined : next;
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
  ): Omit<Page<Entry>, 'isDoubtful'> & { readonly count: number } {
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
      return { entries: undefined, contentType, count: 0 };
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
    return { entries, contentType, count: listed.length };
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

/** Whether a cache on the way, or a mirror that is the upstream, answered with what it had. */
function isCopy({ headers }: SmallResponse): boolean {
  return Number(headers['age'] ?? 0) !== 0 || headers['warning'] !== undefined;
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
