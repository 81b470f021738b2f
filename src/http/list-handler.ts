import type { Registry } from '../mirror/addressing.ts';
import type { Listings } from '../mirror/listings.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { formatReferrersIndex } from '../oci/referrers-index.ts';
import { demandOf } from '../upstream/demand.ts';
import { setCacheHeaders } from './answer-headers.ts';
import { queryValue, type ContentRequest } from './content-request.ts';
import type { V2Context } from './exchange.ts';
import { TEXTS } from './texts.ts';

const MAX_PAGE_SIZE = 1000;

/** GET of `/v2/<name>/tags/list`, `/v2/<name>/referrers/<digest>` and `/v2/_catalog`. */
export class ListHandler {
  readonly #listings: Listings;

  constructor(listings: Listings) {
    this.#listings = listings;
  }

  async tags(ctx: V2Context, { target, demand }: ContentRequest): Promise<void> {
    const page = parsePage(ctx);
    const answer = await this.#listings.tags(target, demand);
    setCacheHeaders(ctx, answer, { stored: false });
    if (!answer.value) {
      throw new RegistryError('NAME_UNKNOWN', {
        message: TEXTS.noRepository(target),
        detail: { upstream: target.upstream, name: target.repository },
      });
    }
    const tags = turnTo(ctx, answer.value, { ...page, nameOf: (tag) => tag });
    sendJson(ctx, 'application/json', { name: target.repository, tags });
  }

  async repositories(ctx: V2Context, { upstream, isAllowed }: Registry): Promise<void> {
    const page = parsePage(ctx);
    const answer = await this.#listings.repositories(
      { upstream },
      demandOf(ctx.state.exchange.client),
    );
    setCacheHeaders(ctx, answer, { stored: false });
    const allowed = (answer.value ?? []).filter(isAllowed);
    const repositories = turnTo(ctx, allowed, { ...page, nameOf: (name) => name });
    sendJson(ctx, 'application/json', { repositories });
  }

  /** A list too long for one answer continues after its last digest. */
  async referrers(ctx: V2Context, { target, reference, demand }: ContentRequest): Promise<void> {
    const answer = await this.#listings.referrers(target, parseDigest(reference), demand);
    setCacheHeaders(ctx, answer, { stored: false });
    const wanted = [ctx.query['artifactType'] ?? []].flat();
    if (wanted.length > 0) ctx.set('OCI-Filters-Applied', 'artifactType');
    const filtered = (answer.value ?? []).filter(
      ({ artifactType }) => wanted.length === 0 || wanted.includes(artifactType ?? ''),
    );
    const last = queryValue(ctx, 'last');
    const nameOf = ({ digest }: Descriptor): string => digest;
    const referrers = turnTo(ctx, filtered, { count: MAX_PAGE_SIZE, last, nameOf });
    sendJson(ctx, OCI_INDEX, formatReferrersIndex(referrers));
  }
}

interface PageWanted {
  /** Undefined: all. */
  readonly count: number | undefined;
  /** The name behind which the page begins. */
  readonly last: string | undefined;
}

function parsePage(ctx: V2Context): PageWanted {
  return { count: parseCount(queryValue(ctx, 'n')), last: queryValue(ctx, 'last') };
}

/** The wanted page of a sorted list; says where the next one is. */
function turnTo<Item>(
  ctx: V2Context,
  items: readonly Item[],
  { count, last, nameOf }: PageWanted & { nameOf: (item: Item) => string },
): readonly Item[] {
  const rest = last === undefined ? items : items.filter((item) => nameOf(item) > last);
  const page = count === undefined ? rest : rest.slice(0, count);
  const end = page.at(-1);
  if (end !== undefined && page.length < rest.length) {
    ctx.set('Link', nextLink(ctx, { n: String(page.length), last: nameOf(end) }));
  }
  return page;
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RegistryError('PAGINATION_NUMBER_INVALID', { detail: { n: text.slice(0, 40) } });
  }
  return Math.min(Number(text), MAX_PAGE_SIZE);
}

/**
 * Relative, so that it holds behind any proxy. What else was asked stays: without `ns` the next
 * page would be another registry's.
 */
function nextLink(ctx: V2Context, page: { n: string; last: string }): string {
  const query = new URLSearchParams(page);
  for (const name of ['ns', 'artifactType']) {
    for (const value of [ctx.query[name] ?? []].flat()) query.append(name, value);
  }
  return `<${ctx.path}?${query.toString()}>; rel="next"`;
}

/** Koa's own JSON body would add a charset, which clients compare against. */
function sendJson(ctx: V2Context, contentType: string, value: object): void {
  const body = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  ctx.status = 200;
  ctx.set('Content-Type', contentType);
  ctx.body = body;
  ctx.state.exchange.bytes = ctx.method === 'HEAD' ? 0 : body.length;
}
