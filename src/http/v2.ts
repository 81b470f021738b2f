import { Router } from '@koa/router';
import type { Middleware } from 'koa';
import type { Addressing } from '../mirror/addressing.ts';
import type { Mirror } from '../mirror/mirror.ts';
import { BlobHandler } from './blob-handler.ts';
import { BufferPool } from './buffer-pool.ts';
import {
  understandCatalogRequest,
  understandRequest,
  type ContentRequest,
} from './content-request.ts';
import type { RequestKind, V2State, V2Context } from './request-record.ts';
import { ListHandler } from './list-handler.ts';
import { ManifestHandler } from './manifest-handler.ts';

interface Content {
  readonly kind: RequestKind;
  readonly handle: (ctx: V2Context, request: ContentRequest) => Promise<void>;
}

/**
 * `/v2/…`, or `/<upstream>/v2/…` as clients ask that put a mirror's path in front. A name may
 * contain the keywords, so it reaches up to the last one.
 */
const CONTENT =
  /^(?:\/(?!v2\/)([^/]+))?\/v2\/(.+)\/(manifests|blobs|tags(?=\/list$)|referrers)\/([^/]+)$/;

/**
 * The read side of the distribution spec. What nearly all requests are for is told from the rest by
 * one look at the path; a router tries each of its routes.
 */
export function createV2(
  mirror: Mirror,
  addressing: Addressing,
): { content: Middleware<V2State>; rest: Router<V2State> } {
  const buffers = new BufferPool();
  const manifests = new ManifestHandler(mirror, buffers);
  const blobs = new BlobHandler(mirror.blobs, buffers);
  const lists = new ListHandler(mirror.listings, buffers);
  const contents: Readonly<Record<string, Content>> = {
    manifests: { kind: 'manifest', handle: manifests.handle.bind(manifests) },
    blobs: { kind: 'blob', handle: blobs.handle.bind(blobs) },
    tags: { kind: 'tags', handle: lists.tags.bind(lists) },
    referrers: { kind: 'referrers', handle: lists.referrers.bind(lists) },
  };
  const content: Middleware<V2State> = async (ctx, next) => {
    const [, prefix, name = '', what = '', reference = ''] = CONTENT.exec(ctx.path) ?? [];
    const found = contents[what];
    if (!found) return next();
    const path = { kind: found.kind, prefix, name, reference };
    await found.handle(ctx, understandRequest(ctx, path, addressing));
  };
  return { content, rest: createRouter(lists, addressing) };
}

function createRouter(lists: ListHandler, addressing: Addressing): Router<V2State> {
  const router = new Router<V2State>();
  // Balancers ask here whether the server is alive.
  router.get(/^\/$/, (ctx) => {
    ctx.body = '';
    ctx.status = 200;
  });
  router.get(/^(?:\/(?!v2\/?$)[^/]+)?\/v2\/?$/, (ctx) => {
    ctx.state.record.kind = 'ping';
    ctx.set('Docker-Distribution-Api-Version', 'registry/2.0');
    ctx.set('Content-Type', 'application/json');
    ctx.body = Buffer.from('{}');
  });
  router.get(/^(?:\/(?!v2\/)([^/]+))?\/v2\/_catalog$/, async (ctx) => {
    const [prefix] = (ctx['captures'] ?? []) as (string | undefined)[];
    await lists.repositories(ctx, understandCatalogRequest(ctx, prefix, addressing));
  });
  return router;
}
