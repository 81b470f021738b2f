import { Router } from '@koa/router';
import Koa from 'koa';
import type { Metrics } from '../observe/metrics.ts';

export interface AdminParts {
  readonly metrics: Metrics;
  readonly usage: () => { readonly blobs: number; readonly bytes: number };
  /** Why the mirror does not serve; `undefined` when it does. */
  readonly unreadyReason: () => string | undefined;
  /** The document of `/api/v1/status`. */
  readonly status: () => object;
}

/** The private application: health, metrics and the API of the commands. */
export function createAdminApp(parts: AdminParts): Koa {
  const router = new Router();
  router.get('/healthz', (ctx) => {
    ctx.body = { status: 'ok' };
  });
  router.get('/readyz', (ctx) => {
    const reason = parts.unreadyReason();
    ctx.status = reason === undefined ? 200 : 503;
    ctx.body = reason === undefined ? { status: 'ready' } : { status: 'not ready', reason };
  });
  router.get('/metrics', async (ctx) => {
    const { blobs, bytes } = parts.usage();
    parts.metrics.storeBlobs.set(blobs);
    parts.metrics.storeBytes.set({ state: 'used' }, bytes);
    ctx.set('Content-Type', parts.metrics.registry.contentType);
    ctx.body = await parts.metrics.registry.metrics();
  });
  router.get('/api/v1/status', (ctx) => {
    ctx.body = parts.status();
  });
  const app = new Koa();
  app.silent = true;
  app.use(router.routes());
  app.use(router.allowedMethods());
  return app;
}
