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

type Handle = (ctx: V2Context, request: ContentRequest) => Promise<void>;

/**
 * `/v2/…`, or `/<upstream>/v2/…` as clients ask that put a mirror's path in front. A name may
 * contain the keywords, so it reaches up to the last one.
 */
function pathOf(tail: string): RegExp {
  return new RegExp(`^(?:/(?!v2/)([^/]+))?/v2/(.+)/${tail}$`);
}

/** The read side of the distribution spec. */
export function createV2Router(mirror: Mirror, addressing: Addressing): Router<V2State> {
  const router = new Router<V2State>();
  const buffers = new BufferPool();
  const manifests = new ManifestHandler(mirror, buffers);
  const blobs = new BlobHandler(mirror.blobs, buffers);
  const lists = new ListHandler(mirror.listings, buffers);
  const content = (path: RegExp, kind: RequestKind, handle: Handle): void => {
    router.get(path, async (ctx) => {
      const request = understandRequest(ctx, kind, addressing);
      await handle(ctx, request);
    });
  };
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
  content(pathOf('manifests/([^/]+)'), 'manifest', manifests.handle.bind(manifests));
  content(pathOf('blobs/([^/]+)'), 'blob', blobs.handle.bind(blobs));
  content(pathOf('tags/(list)'), 'tags', lists.tags.bind(lists));
  content(pathOf('referrers/([^/]+)'), 'referrers', lists.referrers.bind(lists));
  return router;
}
