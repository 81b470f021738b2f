import Koa from 'koa';
import type { IncomingMessage } from 'node:http';
import { Router } from '@koa/router';
import type { AdmissionApi } from '../api/admission-api.ts';
import type { BundleApi } from '../api/bundle-api.ts';
import type { ReloadReport, ServerStatus } from '../api/status-api.ts';
import type { NewPin, Pin, RemovalReport, StoreApi } from '../api/store-api.ts';
import type { SyncApi } from '../api/sync-api.ts';
import type { WarmApi } from '../api/warm-api.ts';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Target } from '../oci/reference.ts';
import { toRegistryError } from '../oci/upstream-error.ts';
import type { Access } from '../access/access.ts';
import type { AccessApi } from '../api/access-api.ts';
import { admitToAdmin, requireOwnHost } from './admin-door.ts';
import { AdminInput } from './admin-input.ts';
import { logAdminRequest } from './admin-record.ts';
import { addBundleRoutes } from './bundle-routes.ts';
import { addExplainRoute, type ExplainParts } from './explain-route.ts';
import { describeAbsence } from './image-absence.ts';
import { addPolicyRoutes } from './policy-routes.ts';
import { TEXTS } from './texts.ts';
import { addTokenRoutes } from './token-routes.ts';
import { addWarmRoutes } from './warm-routes.ts';

export interface ProbeParts {
  readonly metrics: Metrics;
  /** Why the mirror does not serve; `undefined` when it does. */
  readonly unreadyReason: () => string | undefined;
  readonly log: Log;
}

export interface AdminParts extends ProbeParts {
  readonly status: () => ServerStatus | Promise<ServerStatus>;
  readonly store: StoreApi;
  readonly sync: SyncApi;
  readonly warm: WarmApi;
  readonly bundles: BundleApi;
  /** Reads the configuration again; throws a `RegistryError` when it stays as it was. */
  readonly reload: () => ReloadReport;
  /** Who may ask what; whoever reaches this listener where there is none. */
  readonly access: () => Access | undefined;
  readonly audit: Audit;
  readonly tokens: AccessApi;
  readonly admission: AdmissionApi;
  /** The repository of an image as any client names it. Throws a `RegistryError`. */
  readonly resolve: (image: string) => Target;
  /** The host of the configured address: a name that it may be asked under. */
  readonly host: string;
}

/** The private application: health, metrics and the API of the commands. */
export function createAdminApp(parts: AdminParts): Koa {
  const router = createProbes(parts);
  router.get('/api/v1/status', async (ctx) => {
    ctx.body = await parts.status();
  });
  router.post('/api/v1/reload', async (ctx) => {
    await AdminInput.ofBody(ctx.req, []);
    ctx.body = parts.reload();
  });
  addApiRoutes(router, parts);
  addPolicyRoutes(router, parts);
  addWarmRoutes(router, parts.warm);
  addTokenRoutes(router, parts.tokens);
  addBundleRoutes(router, parts.bundles);
  const admit = async (ctx: Koa.Context): Promise<void> => {
    requireOwnHost(ctx, parts.host);
    // What depends on who asks is for no cache.
    if (parts.access()) ctx.set('Cache-Control', 'no-store');
    await admitToAdmin(ctx, parts.access());
  };
  return createApp(router, parts, { admit, end: (ctx) => logAdminRequest(ctx, parts) });
}

/** What scrapers and probes may know, and nothing else. */
export function createProbeApp(parts: ProbeParts): Koa {
  return createApp(createProbes(parts), parts);
}

function createProbes(parts: ProbeParts): Router {
  // One path is one route: roles are judged by it.
  const router = new Router({ sensitive: true });
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

interface AdminHooks {
  /** Before a route; throws for whom it does not let in. */
  readonly admit: (ctx: Koa.Context) => Promise<void>;
  /** When it is answered, or refused. */
  readonly end: (ctx: Koa.Context) => void;
}

function createApp(
  router: Router,
  { log }: Pick<ProbeParts, 'log'>,
  { admit, end }: Partial<AdminHooks> = {},
): Koa {
  const app = new Koa();
  // Errors end in the first middleware; what reaches Koa is a client that left.
  app.silent = true;
  app.use(async (ctx, next) => {
    try {
      await admit?.(ctx);
      await next();
    } catch (error) {
      answerError(ctx, error, log);
    } finally {
      end?.(ctx);
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

/** A lock has some 250 bytes an image. */
const MAX_LOCK_BYTES = 64 * 2 ** 20;
/** 100,000 images of 160 bytes. */
const MAX_IN_USE_BYTES = 16 * 2 ** 20;
const SORTS = ['name', 'size', 'oldest', 'pulls'] as const;
const DEFAULT_LIMIT = 1000;
const MAX_LIMIT = 100_000;
/** It stands in `use:<source>`. */
const SOURCE = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/;

/** What commands and scripts ask of the store and of sync, under `/api/v1`. */
function addApiRoutes(router: Router, parts: ExplainParts): void {
  const { store, sync } = parts;
  addImageRoutes(router, store);
  addExplainRoute(router, parts);
  addCollectionRoutes(router, store);
  addPinRoutes(router, store);
  addSyncRoutes(router, sync);
}

function addImageRoutes(router: Router, store: StoreApi): void {
  router.get('/api/v1/store', async (ctx) => {
    ctx.body = await store.summary();
  });
  router.get('/api/v1/images', async (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['sort', 'limit', 'match']);
    const match = input.optionalText('match');
    const sort = input.optionalOneOf('sort', SORTS) ?? 'name';
    const limit = input.optionalCount('limit', MAX_LIMIT) ?? DEFAULT_LIMIT;
    ctx.body = {
      images: await store.images({ sort, limit, ...(match !== undefined && { match }) }),
    };
  });
}

function addCollectionRoutes(router: Router, store: StoreApi): void {
  router.get('/api/v1/gc', async (ctx) => {
    const input = AdminInput.ofQuery(ctx.query, ['bytes']);
    ctx.body = await store.planCollection(input.optionalCount('bytes', Number.MAX_SAFE_INTEGER));
  });
  router.post('/api/v1/gc', async (ctx) => {
    const input = await AdminInput.ofBody(ctx.req, ['bytes']);
    ctx.body = await store.collect(input.optionalCount('bytes', Number.MAX_SAFE_INTEGER));
  });
  router.post('/api/v1/refresh', async (ctx) => {
    ctx.body = await store.refresh((await AdminInput.ofBody(ctx.req, ['image'])).text('image'));
  });
  router.get('/api/v1/rm', async (ctx) => {
    const image = AdminInput.ofQuery(ctx.query, ['image']).text('image');
    ctx.body = await removed(store, image, { isPlan: true });
  });
  router.post('/api/v1/rm', async (ctx) => {
    const image = (await AdminInput.ofBody(ctx.req, ['image'])).text('image');
    ctx.body = await removed(store, image, { isPlan: false });
  });
  router.get('/api/v1/verify', (ctx) => {
    ctx.body = store.verifyState;
  });
  router.post('/api/v1/verify', async (ctx) => {
    await AdminInput.ofBody(ctx.req, []);
    ctx.status = 202;
    ctx.body = store.startVerify();
  });
}

/** Throws `NAME_UNKNOWN` for what is not held. */
async function removed(
  store: StoreApi,
  image: string,
  options: { isPlan: boolean },
): Promise<RemovalReport> {
  const report = await store.remove(image, options);
  if (report) return report;
  const message = describeAbsence(await store.absence(image));
  throw new RegistryError('NAME_UNKNOWN', { message });
}

function addPinRoutes(router: Router, store: StoreApi): void {
  router.get('/api/v1/pins', (ctx) => {
    ctx.body = { pins: store.pins() };
  });
  router.post('/api/v1/pins', async (ctx) => {
    const input = await AdminInput.ofBody(ctx.req, ['image', 'reason']);
    const pin = await store.pin(input.text('image'), input.optionalText('reason'));
    ctx.status = 201;
    [ctx.body] = await withHeld(store, [pin]);
  });
  // Without a body: a web page of another origin may not send DELETE without being asked for.
  router.delete('/api/v1/pins', async (ctx) => {
    const image = AdminInput.ofQuery(ctx.query, ['image']).text('image');
    if (!(await store.unpin(image))) {
      const pins = await store.pinsOf(image);
      throw new RegistryError('NAME_UNKNOWN', {
        message: TEXTS.notPinned({ image }),
        // The pins that keep it.
        ...(pins.length > 0 && { detail: { pins } }),
      });
    }
    ctx.status = 204;
  });
  router.put('/api/v1/in-use/:source', async (ctx) => {
    const source = ctx.params['source'] ?? '';
    if (!SOURCE.test(source)) {
      throw new RegistryError('UNSUPPORTED', {
        status: 400,
        message: TEXTS.badSource({ source: JSON.stringify(source.slice(0, 80)) }),
      });
    }
    const input = await AdminInput.ofBody(ctx.req, ['images', 'add'], MAX_IN_USE_BYTES);
    const isWhole = input.optionalFlag('add') !== true;
    const list = { entries: input.texts('images'), isWhole };
    const { pins, passedOver } = await store.setInUse(source, list);
    ctx.body = { pins: await withHeld(store, pins), passedOver };
  });
}

async function withHeld(store: StoreApi, pins: readonly Pin[]): Promise<NewPin[]> {
  const held = await store.findHeld(pins.map(({ image }) => image));
  return pins.map((pin) => ({ ...pin, isHeld: held.has(pin.image) }));
}

/** What the site must hold: how that stands, what a run would do, and the run. */
function addSyncRoutes(router: Router, sync: SyncApi): void {
  router.get('/api/v1/sync', async (ctx) => {
    ctx.body = await sync.status();
  });
  router.post('/api/v1/sync/plan', async (ctx) => {
    ctx.body = await sync.plan(await readLock(ctx.req));
  });
  router.get('/api/v1/sync/run', (ctx) => {
    ctx.body = sync.runState;
  });
  router.get('/api/v1/sync/run/images', (ctx) => {
    ctx.body = sync.someState;
  });
  router.post('/api/v1/sync/run', async (ctx) => {
    const input = await AdminInput.ofBody(ctx.req, ['lock', 'images'], MAX_LOCK_BYTES);
    const [lock, images] = [input.optionalObject('lock'), input.optionalTexts('images')];
    const { running } = sync.runState;
    const isOfAll = lock === undefined && images === undefined;
    // The caller would take the report of the other run for its own.
    if (running && (!isOfAll || running.only)) {
      throw new RegistryError('UNSUPPORTED', {
        status: 409,
        message: TEXTS.runUnderWay,
      });
    }
    ctx.status = 202;
    ctx.body = images ? sync.runSome(images, lock) : sync.run(lock);
  });
}

async function readLock(request: IncomingMessage): Promise<object | undefined> {
  const input = await AdminInput.ofBody(request, ['lock'], MAX_LOCK_BYTES);
  return input.optionalObject('lock');
}
