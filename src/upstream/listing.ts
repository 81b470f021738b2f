import { UpstreamError } from '../oci/upstream-error.ts';
import type { Demand } from './demand.ts';
import type { RegistryClient, SmallResponse } from './registry-client.ts';
import type { RequestKind } from './registry-sender.ts';
import { parseJsonObject } from '../net/json-object.ts';
import { TEXTS } from './texts.ts';

export interface ListingRequest {
  readonly kind: Extract<RequestKind, 'tags' | 'referrers' | 'catalog'>;
  /** Below `/v2/`, without a query. */
  readonly path: string;
  readonly scope: string;
  readonly accept: string;
  readonly demand: Demand;
  /** Entries to ask for in one page (`n`); without it the registry decides. */
  readonly pageSize?: number;
}

/** The JSON document of one page, and its media type. */
export interface Page {
  readonly document: Record<string, unknown>;
  readonly contentType: string | undefined;
}

const MAX_PAGES = 1000;
const MAX_PAGE_BYTES = 16 * 1024 * 1024;

/**
 * The pages of a listing, as far as the registry's `Link` leads; none when it says 404. Throws
 * `bad-response` for what is no JSON object.
 */
export async function* readPages(
  client: RegistryClient,
  upstream: string,
  wanted: ListingRequest,
): AsyncGenerator<Page> {
  const { kind, scope, accept, demand, pageSize } = wanted;
  let path: string | undefined =
    pageSize === undefined ? wanted.path : `${wanted.path}?n=${pageSize}`;
  for (let page = 0; path !== undefined && page < MAX_PAGES; page += 1) {
    const response: SmallResponse = await client.read(
      { kind, method: 'GET', path, scope, headers: { accept }, demand },
      MAX_PAGE_BYTES,
    );
    if (response.status === 404) return;
    const document = parseJsonObject(response.bytes);
    if (!document) {
      const reason = TEXTS.noList({ host: response.url.host, kind });
      throw new UpstreamError(upstream, 'bad-response', reason);
    }
    yield { document, contentType: response.headers['content-type'] };
    path = nextPage(response.headers['link'], response.url, client.base);
  }
}

/**
 * The next page of a listing, as a path below the registry's `/v2/`; `undefined` at the end.
 * Registries behind a proxy write internal hosts into absolute links, so only path and query count.
 * @see https://www.rfc-editor.org/rfc/rfc8288
 */
export function nextPage(link: string | undefined, page: URL, base: URL): string | undefined {
  const match = /<([^>]*)>[^,]*;\s*rel="?next"?/i.exec(link ?? '');
  const address = match?.[1];
  if (address === undefined || !URL.canParse(address, page)) return undefined;
  const next = new URL(address, page);
  const start = next.pathname.indexOf('/v2/');
  if (start === -1) return undefined;
  const path = `${next.pathname.slice(start + '/v2/'.length)}${next.search}`;
  const rebased = URL.parse(path, base)?.href;
  return rebased?.startsWith(base.href) && rebased !== page.href ? path : undefined;
}
