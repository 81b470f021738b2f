import type { ParameterizedContext } from 'koa';
import type { CacheResult, MissReason } from '../mirror/answer.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { toRegistryError, UpstreamError } from '../oci/upstream-error.ts';
import { ClientGoneError } from './send.ts';

export type RequestKind = 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'ping' | 'other';

/** A request as the access log and the metrics tell of it; the handlers fill it in. */
export interface RequestRecord {
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  /** The address of who asks; none at a socket in a folder. */
  readonly client: string | undefined;
  kind: RequestKind;
  /** The upstream meant; set with `target`, and alone where there is no repository. */
  upstream?: string;
  target?: Target;
  /** Tag or digest. */
  reference?: string;
  source?: CacheResult;
  /** Of a miss or a bypass. */
  reason?: MissReason | undefined;
  /** Content bytes sent. */
  bytes: number;
  /** When the headers went out, where the body takes its time. */
  answeredAt?: number;
  error?: unknown;
}

/** The state of a Koa context in this application. */
export interface V2State {
  record: RequestRecord;
  /** That the request is for. */
  host: string;
}

export type V2Context = ParameterizedContext<V2State>;

/** Writes the line and the metrics of a request whose handlers are done: the one place for both. */
export function logRequest(ctx: V2Context, parts: { metrics: Metrics; log: Log }): void {
  const { record } = ctx.state;
  const endedAt = performance.now();
  count(ctx, record, { endedAt, metrics: parts.metrics });
  const { client, kind, upstream, target, source, bytes, error, reference } = record;
  const { startedAt, answeredAt } = record;
  const isGone = error instanceof ClientGoneError;
  // After the headers only the cut connection tells the client, and only this line the operator.
  const isCut = error !== undefined && !isGone && answeredAt !== undefined;
  const isFault = isCut || (error !== undefined && !isGone && ctx.status >= 500);
  parts.log[isFault ? 'warn' : 'info'](
    {
      // The log leaves out what is undefined.
      client,
      method: ctx.method,
      kind,
      target: target && formatTarget(target),
      upstream: target ? undefined : upstream,
      reference,
      status: ctx.status,
      source,
      bytes,
      ms: Math.round((endedAt - startedAt) * 10) / 10,
      left: isGone || undefined,
      cut: isCut || undefined,
      ...(error !== undefined && !isGone && (isFault ? faultOf(error) : refusalOf(ctx, error))),
    },
    'request',
  );
}

/** The message of an upstream's fault says all; a stack of this code adds nothing. */
function faultOf(error: unknown): object {
  return error instanceof UpstreamError ? { reason: error.message } : { err: error };
}

/** Of a path or a registry that a client made up. */
const MAX_SHOWN = 300;

/** Why it was refused, and what was asked for in the client's own words where no target tells. */
function refusalOf({ req, state }: V2Context, error: unknown): Record<string, string> {
  const { message } = toRegistryError(error);
  // Also of a target that is no URL.
  const [path = '', search] = (req.url ?? '').split('?', 2);
  const namespace = new URLSearchParams(search).get('ns') ?? undefined;
  return {
    ...(!state.record.target && { path: path.slice(0, MAX_SHOWN) }),
    ...(namespace !== undefined && { ns: namespace.slice(0, MAX_SHOWN) }),
    reason: message,
  };
}

function count(
  ctx: V2Context,
  record: RequestRecord,
  { endedAt, metrics }: { endedAt: number; metrics: Metrics },
): void {
  const { kind, upstream, source, bytes, startedAt, answeredAt = endedAt } = record;
  const method = methodLabel(ctx.method);
  metrics.httpRequests.inc({ kind, method, code: String(ctx.status) });
  if (upstream === undefined || !source) return;
  const result = source;
  metrics.cacheRequests.inc({ upstream, kind, method, result });
  metrics.httpRequestSeconds.observe({ kind, result }, (answeredAt - startedAt) / 1000);
  if (bytes > 0) metrics.httpResponseBytes.inc({ upstream, kind, result }, bytes);
  if (result !== 'miss' && result !== 'bypass') return;
  const { reason = result === 'miss' ? 'cold' : 'unstored' } = record;
  metrics.cacheMisses.inc({ upstream, kind, reason });
}

/** A client may send any method; the values of a label must be bounded. */
function methodLabel(method: string): string {
  return method === 'GET' || method === 'HEAD' ? method : 'other';
}
