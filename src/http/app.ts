import Koa from 'koa';
import type { Config } from '../config/config.ts';
import type { Addressing } from '../mirror/addressing.ts';
import type { Mirror } from '../mirror/mirror.ts';
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
import { createV2 } from './v2.ts';

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
  readonly traces: Traces;
  readonly config: Pick<Config, 'log' | 'trustProxy'>;
  /** It answers those for whom there is no place. */
  readonly isFull?: boolean;
}

/** By then an answer has ended, or what hindered all of them is told to the operator. */
const FULL_RETRY_AFTER_SECONDS = 5;

/** The public application: read-only, the distribution spec and nothing else. */
export function createApp(parts: AppParts): Koa<V2State> {
  const app = new Koa<V2State>();
  // Errors end in the middleware below; what reaches Koa is a client that left.
  app.silent = true;
  const proxies = new TrustedProxies(parts.config.trustProxy);
  app.use(async (ctx, next) => {
    const startedAt = performance.now();
    const client = proxies.clientOf(ctx.req);
    const id = requestId(ctx.get('X-Request-Id'));
    const trace = parts.traces.receive(ctx.req.headers);
    const record: RequestRecord = { startedAt, id, client, trace, kind: 'other', bytes: 0 };
    ctx.state.record = record;
    ctx.set('X-Request-Id', id);
    try {
      if (parts.isFull) throw noPlace();
      ctx.state.host = proxies.hostOf(ctx.req, requestedHost(ctx.req));
      requireRead(ctx);
      const received = ctx.get('Via');
      const via = received === '' ? undefined : refuseLoop(parts.via, received);
      const work = via === undefined ? next : () => parts.via.follow(via, next);
      await (trace ? Traces.follow(trace, work) : work());
    } catch (error) {
      record.error = error;
      answerError(ctx, error);
    } finally {
      logRequest(ctx, parts);
    }
  });
  const { content, rest } = createV2(parts.mirror, parts.addressing);
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

/** A mirror takes no writes; the same answer for all names says nothing about any. */
function requireRead(ctx: V2Context): void {
  if (ctx.method === 'GET' || ctx.method === 'HEAD') return;
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
  ctx.set(answer.headers);
  ctx.status = answer.status;
  ctx.set('Content-Type', 'application/json');
  ctx.body = Buffer.from(JSON.stringify(answer));
  // An unread request body would be taken for the next request.
  if (!ctx.req.complete) ctx.set('Connection', 'close');
}
