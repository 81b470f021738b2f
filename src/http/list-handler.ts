import type { RegistryTarget } from '../mirror/addressing.ts';
import type { Listings } from '../mirror/listings.ts';
import { readAll, type Reader } from '../oci/content.ts';
import { describeReferrer, type Descriptor, REFERRERS_INDEX } from '../oci/descriptor.ts';
import { parseDigest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { demandOf } from '../upstream/demand.ts';
import { setCacheHeaders } from './answer-headers.ts';
import type { BufferPool } from './buffer-pool.ts';
import { queryValue, type ContentRequest } from './content-request.ts';
import type { V2Context } from './request-record.ts';
import { send } from './send.ts';
import { TEXTS } from './texts.ts';

const MAX_PAGE_SIZE = 1000;
/** Lists up to here go out in one piece with their headers. */
const SMALL_BYTES = 64 * 1024;

/** GET of `/v2/<name>/tags/list`, `/v2/<name>/referrers/<digest>` and `/v2/_catalog`. */
export class ListHandler {
  readonly #listings: Listings;
  readonly #buffers: BufferPool;

  constructor(listings: Listings, buffers: BufferPool) {
    this.#listings = listings;
    this.#buffers = buffers;
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
    const body = new JsonList({ name: target.repository }, 'tags', tags);
    await sendList(ctx, 'application/json', { body, buffers: this.#buffers });
  }

  async repositories(ctx: V2Context, { upstream, isAllowed }: RegistryTarget): Promise<void> {
    const page = parsePage(ctx);
    const answer = await this.#listings.repositories({ upstream }, demandOf(ctx.state.inLine));
    setCacheHeaders(ctx, answer, { stored: false });
    const wanted = { ...page, nameOf: (name: string) => name, isWanted: isAllowed };
    const body = new JsonList({}, 'repositories', turnTo(ctx, answer.value ?? [], wanted));
    await sendList(ctx, 'application/json', { body, buffers: this.#buffers });
  }

  /** For whom nothing is listed. */
  async noRepositories(ctx: V2Context): Promise<void> {
    parsePage(ctx);
    const body = new JsonList({}, 'repositories', () => []);
    await sendList(ctx, 'application/json', { body, buffers: this.#buffers });
  }

  /** A list too long for one answer continues after its last digest. */
  async referrers(ctx: V2Context, { target, reference, demand }: ContentRequest): Promise<void> {
    const answer = await this.#listings.referrers(target, parseDigest(reference), demand);
    setCacheHeaders(ctx, answer, { stored: false });
    const wanted = [ctx.query['artifactType'] ?? []].flat();
    if (wanted.length > 0) ctx.set('OCI-Filters-Applied', 'artifactType');
    const referrers = turnTo(ctx, answer.value ?? [], {
      count: MAX_PAGE_SIZE,
      last: queryValue(ctx, 'last'),
      nameOf: ({ digest }: Descriptor) => digest,
      isWanted: ({ artifactType = '' }) => wanted.length === 0 || wanted.includes(artifactType),
    });
    const body = new JsonList(REFERRERS_INDEX, 'manifests', () =>
      referrers().map(describeReferrer),
    );
    await sendList(ctx, OCI_INDEX, { body, buffers: this.#buffers });
  }
}

interface PageWanted {
  /** Undefined: all. */
  readonly count: number | undefined;
  /** The name behind which the page begins. */
  readonly last: string | undefined;
}

interface ItemRules<Item> {
  readonly nameOf: (item: Item) => string;
  readonly isWanted?: (item: Item) => boolean;
}

function parsePage(ctx: V2Context): PageWanted {
  return { count: parseCount(queryValue(ctx, 'n')), last: queryValue(ctx, 'last') };
}

/** The wanted page of a sorted list, which is not copied; says where the next one is. */
function turnTo<Item>(
  ctx: V2Context,
  items: readonly Item[],
  { count, last = '', nameOf, isWanted = () => true }: PageWanted & ItemRules<Item>,
): () => IteratorObject<Item> {
  const first = items.findIndex((item) => nameOf(item) > last);
  const rest = () =>
    items
      .values()
      .drop(first < 0 ? items.length : first)
      .filter(isWanted);
  const page = (): IteratorObject<Item> => (count === undefined ? rest() : rest().take(count));
  if (count === undefined || count === 0) return page;
  const [end, next] = rest()
    .drop(count - 1)
    .take(2);
  if (end !== undefined && next !== undefined) {
    ctx.set('Link', nextLink(ctx, { n: String(count), last: nameOf(end) }));
  }
  return page;
}

function parseCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RegistryError('PAGINATION_NUMBER_INVALID', { detail: `n=${text.slice(0, 40)}` });
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
async function sendList(
  ctx: V2Context,
  contentType: string,
  { body, buffers }: { body: JsonList<unknown>; buffers: BufferPool },
): Promise<void> {
  if (ctx.state.isPrivate) ctx.set('Cache-Control', 'private');
  const { size } = body;
  const { record } = ctx.state;
  ctx.status = 200;
  ctx.set('Content-Type', contentType);
  ctx.length = size;
  if (ctx.method === 'HEAD') return;
  if (size <= SMALL_BYTES) {
    ctx.body = await readAll(body, size);
    record.bytes = size;
    return;
  }
  ctx.respond = false;
  ctx.flushHeaders();
  record.answeredAt = performance.now();
  await send(ctx.res, body, { size, buffers, onSent: (bytes) => (record.bytes += bytes) });
  ctx.res.end();
}

/**
 * A JSON document that ends with a list, made piece by piece as its client takes it: the items are
 * shared by all who ask, and a client that stops holds one chunk of the text.
 */
class JsonList<Item> implements Reader {
  readonly #head: string;
  readonly #items: () => Iterable<Item>;
  readonly #pieces: Generator<string>;
  #rest: Buffer = Buffer.alloc(0);

  /** `head` is an object; `key` names the list, its last key. */
  constructor(head: object, key: string, items: () => Iterable<Item>) {
    const before = JSON.stringify(head).slice(0, -1);
    this.#head = `${before}${before === '{' ? '' : ','}"${key}":[`;
    this.#items = items;
    this.#pieces = this.#write();
  }

  /** Bytes of the whole. */
  get size(): number {
    let bytes = 0;
    for (const piece of this.#write()) bytes += Buffer.byteLength(piece);
    return bytes;
  }

  async read(scratch: Buffer): Promise<Buffer> {
    let filled = 0;
    while (filled < scratch.length) {
      if (this.#rest.length === 0) {
        const { done, value } = this.#pieces.next();
        if (done) break;
        this.#rest = Buffer.from(value);
      }
      const copied = this.#rest.copy(scratch, filled);
      this.#rest = this.#rest.subarray(copied);
      filled += copied;
    }
    return scratch.subarray(0, filled);
  }

  async close(): Promise<void> {
    this.#pieces.return(undefined);
  }

  *#write(): Generator<string> {
    let before = this.#head;
    for (const item of this.#items()) {
      yield `${before}${JSON.stringify(item)}`;
      before = ',';
    }
    yield before === ',' ? ']}' : `${before}]}`;
  }
}
