import { Router } from '@koa/router';
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
 * contain the keywords, so it reaches up to the last one. All in one, since the router tries each of
 * its routes for each request.
 */
const CONTENT =
  /^(?:\/(?!v2\/)([^/]+))?\/v2\/(.+)\/(manifests|blobs|tags(?=\/list$)|referrers)\/([^/]+)$/;

/** The read side of the distribution spec. */
export function createV2Router(mirror: Mirror, addressing: Addressing): Router<V2State> {
  const router = new Router<V2State>();
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
  router.get(CONTENT, async (ctx, next) => {
    const content = contents[ctx['captures']?.[2] ?? ''];
    if (!content) return next();
    await content.handle(ctx, understandRequest(ctx, content.kind, addressing));
  });
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
    await lists.repositories(ctx, understandCatalogRequest(ctx, addressing));
  });
  return router;
}
