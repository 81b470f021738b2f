import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { Router } from '@koa/router';
import Koa from 'koa';
import type { ReloadReport, ServerStatus } from '../api/status-api.ts';
import type { StoreApi } from '../api/store-api.ts';
import type { SyncApi } from '../api/sync-api.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { RegistryError } from '../oci/errors.ts';
import { hostOf } from '../oci/host-header.ts';
import { toRegistryError } from '../oci/upstream-error.ts';
import { AdminInput } from './admin-input.ts';
import { addApiRoutes } from './api-routes.ts';
import { TEXTS } from './texts.ts';

export interface ProbeParts {
  readonly metrics: Metrics;
  /** Why the mirror does not serve; `undefined` when it does. */
  readonly unreadyReason: () => string | undefined;
  readonly log: Log;
}

export interface AdminParts extends ProbeParts {
  readonly status: () => ServerStatus;
  readonly store: StoreApi;
  readonly sync: SyncApi;
  /** Reads the configuration again; throws a `RegistryError` when it stays as it was. */
  readonly reload: () => ReloadReport;
  /** The host of the configured address: a name that it may be asked under. */
  readonly host: string;
}

/** Asked by probes and scrapers, under whatever host name they have for this listener. */
const PUBLIC: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics']);

/** The private application: health, metrics and the API of the commands. */
export function createAdminApp(parts: AdminParts): Koa {
  const router = createProbes(parts);
  router.get('/api/v1/status', (ctx) => {
    ctx.body = parts.status();
  });
  router.post('/api/v1/reload', async (ctx) => {
    await AdminInput.ofBody(ctx.req, []);
    ctx.body = parts.reload();
  });
  addApiRoutes(router, parts);
  return createApp(router, parts, (ctx) => {
    // Before the path is looked at, which Koa cannot of a target that is no URL.
    const host = hostOf(ctx.req);
    if (!PUBLIC.has(ctx.path)) requireOwnHost(host, ctx.req, parts.host);
  });
}

/** What scrapers and probes may know, and nothing else. */
export function createProbeApp(parts: ProbeParts): Koa {
  return createApp(createProbes(parts), parts);
}

function createProbes(parts: ProbeParts): Router {
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
    ctx.set('Content-Type', parts.metrics.registry.contentType);
    ctx.body = await parts.metrics.expose();
  });
  return router;
}

function createApp(
  router: Router,
  { log }: Pick<ProbeParts, 'log'>,
  admit: (ctx: Koa.Context) => void = () => {},
): Koa {
  const app = new Koa();
  // Errors end in the first middleware; what reaches Koa is a client that left.
  app.silent = true;
  app.use(async (ctx, next) => {
    try {
      admit(ctx);
      await next();
    } catch (error) {
      answerError(ctx, error, log);
    }
  });
  app.use(router.routes());
  app.use(router.allowedMethods());
  return app;
}

/** A refusal keeps its status and words; of an unexpected error only the log tells more. */
function answerError(ctx: Koa.Context, error: unknown, log: Log): void {
  const { status, message, detail, headers } = toRegistryError(error);
  const isForeseen = error instanceof RegistryError || status !== 500;
  if (!isForeseen)
    log.error({ err: error, method: ctx.method, path: ctx.path }, 'admin request failed');
  ctx.set(headers);
  ctx.status = status;
  ctx.body = { error: message, ...(typeof detail === 'object' && { detail }) };
}

/**
 * Refuses what was asked under a name that is not this listener's. A page of a name that its owner
 * points here (DNS rebinding) is of the same origin as the API for a browser, and its `Host` is the
 * one thing that it cannot change. A listener that the operator opened to a network goes by names
 * that only the network knows. Throws `DENIED`.
 */
function requireOwnHost(host: string, { socket }: IncomingMessage, configured: string): void {
  // Who may open a socket in a folder is a matter of the folder's mode; no browser can. A closed
  // connection has no address either.
  const isOfSocketFile = !socket.destroyed && socket.localAddress === undefined;
  if (isOfSocketFile || isOpenToNetwork(configured)) return;
  const name = host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  const own = ['localhost', configured.toLowerCase()];
  if (isAddress(name) || own.includes(name)) return;
  throw new RegistryError('DENIED', {
    message: TEXTS.otherHost({ host: JSON.stringify(host.slice(0, 255)) }),
  });
}

function isOpenToNetwork(configured: string): boolean {
  return isIP(configured) !== 0 && !/^(?:127\.|::1$)/.test(configured);
}

function isAddress(name: string): boolean {
  const [, bracketed] = /^\[(.*)\]$/.exec(name) ?? [];
  return bracketed === undefined ? isIP(name) === 4 : isIP(bracketed) === 6;
}
