import type { Listings } from '../mirror/listings.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { setCacheHeaders } from './cache-headers.ts';
import { queryValue, type ContentRequest, type V2Context } from './content-request.ts';

const MAX_PAGE_SIZE = 1000;

/** GET of `/v2/<name>/tags/list` and `/v2/<name>/referrers/<digest>`. */
export class ListHandler {
  readonly #listings: Listings;

  constructor(listings: Listings) {
    this.#listings = listings;
  }

  async tags(ctx: V2Context, { target, exchange }: ContentRequest): Promise<void> {
    const count = parseCount(queryValue(ctx, 'n'));
    const last = queryValue(ctx, 'last');
    const answer = await this.#listings.tags(target);
    exchange.source = answer.source;
    setCacheHeaders(ctx, answer, { stored: false });
    if (!answer.value) {
      throw new RegistryError('NAME_UNKNOWN', {
        message: `${target.upstream} has no repository ${target.repository}`,
        detail: { upstream: target.upstream, name: target.repository },
      });
    }
    const rest = last === undefined ? answer.value : answer.value.filter((tag) => tag > last);
    const page = count === undefined ? rest : rest.slice(0, count);
    const end = page.at(-1);
    if (end !== undefined && page.length < rest.length) {
      ctx.set('Link', nextLink(ctx, { n: String(page.length), last: end }));
    }
    sendJson(ctx, 'application/json', { name: target.repository, tags: page });
  }

  async referrers(ctx: V2Context, request: ContentRequest): Promise<void> {
    const { target, exchange } = request;
    const answer = await this.#listings.referrers(target, parseDigest(request.reference));
    exchange.source = answer.source;
    setCacheHeaders(ctx, answer, { stored: false });
    const wanted = [ctx.query['artifactType'] ?? []].flat();
    if (wanted.length > 0) ctx.set('OCI-Filters-Applied', 'artifactType');
    const manifests = (answer.value ?? []).filter(
      ({ artifactType }) => wanted.length === 0 || wanted.includes(artifactType ?? ''),
    );
    sendJson(ctx, OCI_INDEX, {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: manifests.map(describeReferrer),
    });
  }
}

/** The spec's fields of a referrer; no platform. */
function describeReferrer(descriptor: Descriptor): Omit<Descriptor, 'platform'> {
  const { mediaType, digest, size, artifactType, annotations } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  };
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RegistryError('PAGINATION_NUMBER_INVALID', { detail: { n: text.slice(0, 40) } });
  }
  return Math.min(Number(text), MAX_PAGE_SIZE);
}

/** Relative, so that it holds behind any proxy; `ns` stays, or the next page would be another registry's. */
function nextLink(ctx: V2Context, page: { n: string; last: string }): string {
  const query = new URLSearchParams(page);
  const namespace = queryValue(ctx, 'ns');
  if (namespace !== undefined) query.set('ns', namespace);
  return `<${ctx.path}?${query.toString()}>; rel="next"`;
}

/** Koa's own JSON body would add a charset, which clients compare against. */
function sendJson(ctx: V2Context, contentType: string, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  ctx.status = 200;
  ctx.set('Content-Type', contentType);
  ctx.body = body;
  ctx.state.exchange.bytes = ctx.method === 'HEAD' ? 0 : body.length;
}
