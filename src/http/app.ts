import type { RequestListener } from 'node:http';
import Koa from 'koa';
import type { Config } from '../config/config.ts';
import type { Addressing } from '../mirror/addressing.ts';
import { GateRefusal, type Mirror } from '../mirror/mirror.ts';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Traces } from '../observe/traces.ts';
import { RegistryError } from '../oci/errors.ts';
import { requestedHost } from '../oci/host-header.ts';
import { toRegistryError } from '../oci/upstream-error.ts';
import {
  logRequest,
  type RequestRecord,
  type V2State,
  type V2Context,
  requestId,
} from './request-record.ts';
import { ClientGoneError } from './send.ts';
import { TEXTS } from './texts.ts';
import { TrustedProxies } from './trusted-proxies.ts';
import { demandOf } from '../upstream/demand.ts';
import { Router } from '@koa/router';
import type { Middleware } from 'koa';
import type { Access } from '../access/access.ts';
import type { ScannerPasses } from '../access/scanner-passes.ts';
import { setPingHeaders } from './answer-headers.ts';
import { BlobHandler } from './blob-handler.ts';
import { BufferPool } from './buffer-pool.ts';
import {
  understandCatalogRequest,
  understandRequest,
  type ContentRequest,
} from './content-request.ts';
import { CONTENT_ROUTES, parseContentPath, type Content } from './content-routes.ts';
import { Door } from './door.ts';
import { HotWay } from './hot-way.ts';
import { ListHandler } from './list-handler.ts';
import { ManifestHandler } from './manifest-handler.ts';
import { ScannerDoor } from './scanner-door.ts';
import { TokenHandler } from './token-handler.ts';

/** Some forty mirrors in a row; passed on, more would meet the limits of servers on the way. */
const MAX_VIA_LENGTH = 2048;

/** What the `Via` header of a request means here. */
export interface ViaHeader {
  /** Whether the request came through this mirror before. */
  includesMe(received: string): boolean;
  /** Runs what the request causes, so that requests to upstreams tell where they come from. */
  follow<Value>(received: string, work: () => Value): Value;
}

export interface AppParts {
  readonly mirror: Mirror;
  readonly addressing: Addressing;
  readonly via: ViaHeader;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: Audit;
  readonly traces: Traces;
  readonly config: Pick<Config, 'admission' | 'log' | 'trustProxy'>;
  /** Who may pull what; everybody everything where it is left out. */
  readonly access?: Access | undefined;
  /** Those of the scanner, where the configuration has one. */
  readonly passes?: ScannerPasses | undefined;
  /** It answers those for whom there is no place. */
  readonly isFull?: boolean;
}

/** By then an answer has ended, or what hindered all of them is told to the operator. */
const FULL_RETRY_AFTER_SECONDS = 5;

/** The public door: what is hot is answered at once, everything else by the application. */
export function createListener(parts: AppParts): RequestListener {
  const proxies = new TrustedProxies(parts.config.trustProxy);
  const door = new Door(parts.access);
  const hot = new HotWay({ ...parts, proxies, door });
  const app = createApp(parts, { proxies, door, hot }).callback();
  return (request, response) => {
    if (parts.isFull || !hot.answer(request, response)) void app(request, response);
  };
}

interface Doors {
  readonly proxies: TrustedProxies;
  readonly door: Door;
  readonly hot: HotWay;
}

/** The public application: read-only, the distribution spec and nothing else. */
function createApp(parts: AppParts, { proxies, ...doors }: Doors): Koa<V2State> {
  const app = new Koa<V2State>();
  // Errors end in the middleware below; what reaches Koa is a client that left.
  app.silent = true;
  app.use(async (ctx, next) => {
    const startedAt = performance.now();
    const client = proxies.clientOf(ctx.req);
    const id = requestId(ctx.get('X-Request-Id'));
    const trace = parts.traces.receive(ctx.req.headers);
    const record: RequestRecord = { startedAt, id, client, trace, kind: 'other', bytes: 0 };
    ctx.state.record = record;
    ctx.state.inLine = client;
    ctx.state.isProxied = proxies.isProxied(ctx.req);
    ctx.set('X-Request-Id', id);
    try {
      if (parts.isFull) throw noPlace();
      ctx.state.host = proxies.hostOf(ctx.req, requestedHost(ctx.req));
      ctx.state.scheme = proxies.schemeOf(ctx.req);
      requireRead(ctx, parts.access);
      const received = ctx.get('Via');
      const via = received === '' ? undefined : refuseLoop(parts.via, received);
      const work = via === undefined ? next : () => parts.via.follow(via, next);
      await (trace ? Traces.follow(trace, work) : work());
    } catch (error) {
      record.error = error;
      if (error instanceof GateRefusal) record.source = 'refused';
      answerError(ctx, error);
    } finally {
      const { req: request, method, status, response } = ctx;
      const digest = response.get('Docker-Content-Digest');
      logRequest({ request, method, status, record, digest }, parts);
    }
  });
  const { content, rest } = createV2({ ...parts, ...doors });
  app.use(content);
  app.use(rest.routes());
  app.use(() => {
    throw new RegistryError('UNSUPPORTED', { status: 404, message: TEXTS.noEndpoint });
  });
  return app;
}

function noPlace(): RegistryError {
  return new RegistryError('UNAVAILABLE', {
    status: 503,
    message: TEXTS.noPlace,
    headers: { 'Retry-After': String(FULL_RETRY_AFTER_SECONDS) },
  });
}

/** Throws when the request came through this mirror before: two mirrors have each other as upstream. */
function refuseLoop(via: ViaHeader, received: string): string {
  if (received.length > MAX_VIA_LENGTH) {
    throw new RegistryError('UNSUPPORTED', {
      status: 400,
      message: TEXTS.viaTooLong({ most: MAX_VIA_LENGTH }),
    });
  }
  if (!via.includesMe(received)) return received;
  throw new RegistryError('UNAVAILABLE', {
    status: 508,
    message: TEXTS.loop,
    detail: { via: received.slice(0, 255) },
  });
}

const TOKEN_PATH = '/token';

/** A mirror takes no writes; the same answer for all names says nothing about any. */
function requireRead(ctx: V2Context, access: Access | undefined): void {
  if (ctx.method === 'GET' || ctx.method === 'HEAD') return;
  if (access && ctx.method === 'POST' && ctx.path === TOKEN_PATH) return;
  throw new RegistryError('UNSUPPORTED', {
    message: TEXTS.readOnly,
    headers: { Allow: 'GET, HEAD' },
  });
}

function answerError(ctx: V2Context, error: unknown): void {
  if (ctx.res.headersSent || error instanceof ClientGoneError) {
    // Ending cleanly would tell the client that it has everything.
    ctx.respond = false;
    ctx.res.destroy();
    return;
  }
  const answer = toRegistryError(error, ctx.state.record.kind);
  for (const name of [
    'Content-Length',
    'Content-Range',
    'ETag',
    'Cache-Control',
    'Accept-Ranges',
    'Docker-Content-Digest',
  ]) {
    ctx.remove(name);
  }
  if (ctx.state.isPrivate) ctx.set('Cache-Control', 'private, no-store');
  ctx.set(answer.headers);
  ctx.status = answer.status;
  ctx.set('Content-Type', 'application/json');
  ctx.body = Buffer.from(JSON.stringify(answer));
  // An unread request body would be taken for the next request.
  if (!ctx.req.complete) ctx.set('Connection', 'close');
}

/**
 * The read side of the distribution spec. What nearly all requests are for is told from the rest by
 * one look at the path; a router tries each of its routes.
 */
function createV2({
  mirror,
  addressing,
  access,
  passes,
  config,
  door,
  hot,
}: Pick<AppParts, 'mirror' | 'addressing' | 'access' | 'passes' | 'config'> &
  Pick<Doors, 'door' | 'hot'>): {
  content: Middleware<V2State>;
  rest: Router<V2State>;
} {
  const buffers = new BufferPool();
  const isScanned = config.admission?.scanner !== undefined;
  const scanner =
    passes && isScanned ? new ScannerDoor({ passes, mirror, addressing, buffers }) : undefined;
  const manifests = new ManifestHandler(mirror, buffers);
  const blobs = new BlobHandler(mirror.blobs, buffers);
  const lists = new ListHandler(mirror.listings, buffers);
  const handlers = {
    manifests: manifests.handle.bind(manifests),
    blobs: blobs.handle.bind(blobs),
    tags: lists.tags.bind(lists),
    referrers: lists.referrers.bind(lists),
  } satisfies Record<Content, (ctx: V2Context, request: ContentRequest) => Promise<void>>;
  const content: Middleware<V2State> = async (ctx, next) => {
    if (scanner && (await scanner.answer(ctx))) return;
    const path = parseContentPath(ctx.path);
    if (!path) return next();
    const { kind, verb } = CONTENT_ROUTES[path.what];
    const request = understandRequest(ctx, { kind, ...path }, addressing);
    await door.admit(ctx, verb, request);
    // Who may not come in learns nothing of this either.
    addressing.requireAllowed(request.target);
    const demand = demandOf(ctx.state.inLine);
    await handlers[path.what](ctx, { ...request, demand });
    if (path.what === 'manifests') hot.learn(ctx.req, request);
  };
  return { content, rest: createRouter({ lists, addressing, door, access, hot }) };
}

function createRouter({
  lists,
  addressing,
  door,
  access,
  hot,
}: Pick<AppParts, 'addressing' | 'access'> &
  Pick<Doors, 'door' | 'hot'> & { lists: ListHandler }): Router<V2State> {
  const router = new Router<V2State>();
  // Balancers ask here whether the server is alive.
  router.get(/^\/$/, (ctx) => {
    ctx.body = '';
    ctx.status = 200;
  });
  router.get(/^(?:\/(?!v2\/?$)[^/]+)?\/v2\/?$/, async (ctx) => {
    ctx.state.record.kind = 'ping';
    await door.ping(ctx);
    setPingHeaders(ctx);
    ctx.body = Buffer.from('{}');
    hot.learn(ctx.req);
  });
  router.get(/^(?:\/(?!v2\/)([^/]+))?\/v2\/_catalog$/, async (ctx) => {
    const [prefix] = (ctx['captures'] ?? []) as (string | undefined)[];
    const { upstream, isAllowed } = understandCatalogRequest(ctx, prefix, addressing);
    const isListed = await door.listed(ctx, upstream);
    if (!isListed) return lists.noRepositories(ctx);
    const isWanted = (name: string): boolean => isAllowed(name) && isListed(name);
    await lists.repositories(ctx, { upstream, isAllowed: isWanted });
  });
  if (access) {
    const tokens = new TokenHandler(access);
    router.all(TOKEN_PATH, async (ctx) => tokens.handle(ctx));
  }
  return router;
}
