import type { ParameterizedContext } from 'koa';
import type { Config } from '../config/config.ts';
import type { MissReason } from '../mirror/answer.ts';
import type { Audit, AuditEvent } from '../observe/audit.ts';
import type { Denial, REQUEST_KINDS, RequestResult } from '../observe/declarations.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { SpanAttributes, OpenSpan, Traces } from '../observe/traces.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { toRegistryError, UpstreamError } from '../oci/upstream-error.ts';
import { redact } from '../observe/secret-shapes.ts';
import { ClientGoneError } from './send.ts';
import { hash, randomUUID } from 'node:crypto';

export type RequestKind = (typeof REQUEST_KINDS)[number];

/** A request as the access log and the metrics tell of it; the handlers fill it in. */
export interface RequestRecord {
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  /** Its client's or a new one; in the answer too. */
  readonly id: string;
  /** The address of who asks; none at a socket in a folder. */
  readonly client: string | undefined;
  readonly trace: ReturnType<Traces['receive']>;
  kind: RequestKind;
  /** The upstream meant; set with `target`, and alone where there is no repository. */
  upstream?: string;
  target?: Target;
  /** Tag or digest. */
  reference?: string;
  /** Who asks, as rules name it; left out where nobody is asked. */
  subject?: string;
  /** Of the API token by which the subject is known, of which several may have one name. */
  tokenId?: string;
  /** Why the subject is not let in; where no rule lets it in the client is told that nothing is there. */
  denied?: Denial;
  /** Something was shown that says nothing here: perhaps a secret of the upstream. */
  foreign?: true;
  source?: RequestResult;
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
  /** By which the client reaches this mirror. */
  scheme: 'http' | 'https';
  /** It came by a proxy that the operator trusts. */
  isProxied: boolean;
  /** Who waits for turns: a subject, or an address. */
  inLine: string | undefined;
  /** The answer depends on who asked. */
  isPrivate?: boolean;
}

export type V2Context = ParameterizedContext<V2State>;

export interface RequestLogs {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: Audit;
  readonly config: Pick<Config, 'log'>;
}

/** Writes the lines and the metrics of a request whose handlers are done: the one place for all of them. */
export function logRequest(ctx: V2Context, { metrics, log, audit, config }: RequestLogs): void {
  const { record } = ctx.state;
  const endedAt = performance.now();
  count(ctx, record, { endedAt, metrics });
  const { error, answeredAt, id } = record;
  const isGone = error instanceof ClientGoneError;
  // After the headers only the cut connection tells the client, and only this line the operator.
  const isCut = error !== undefined && !isGone && answeredAt !== undefined;
  const isFault = isCut || (error !== undefined && !isGone && ctx.status >= 500);
  const isLogged = isFault || ctx.status >= 400 || isSampled(id, config.log.access);
  const span = record.trace?.span;
  const event = audit.isOn ? auditEventOf(record) : undefined;
  if (!isLogged && !span && !event) return;
  const facts: AccessFacts = factsOf(ctx, endedAt);
  if (span) endSpan(ctx, span, facts);
  if (event) writeAudit(ctx, event, { facts, audit });
  if (!isLogged) return;
  // Into the one object: a copy of it would cost as much as the line.
  if (isGone) facts.left = true;
  else if (error !== undefined) {
    if (isCut) facts.cut = true;
    Object.assign(facts, isFault ? faultOf(error) : refusalOf(ctx, error));
  }
  log[isFault ? 'warn' : 'info'](facts, 'request');
}

type AccessFacts = ReturnType<typeof factsOf> & { left?: true; cut?: true };

/** What happened, where it is something that is asked later; nobody logs in by asking whether there is a registry. */
function auditEventOf({ kind, denied, subject }: RequestRecord): AuditEvent['event'] | undefined {
  switch (kind) {
    case 'manifest':
    case 'blob':
    case 'referrers':
      return 'pull';
    case 'tags':
    case 'catalog':
      return 'list';
    case 'token':
      return 'login';
    case 'ping':
      return subject === undefined || denied === 'anonymous' ? undefined : 'login';
    case 'other':
      return undefined;
  }
}

/** In the words of the log, with what was given; how long it took is no matter of it. */
function writeAudit(
  { response, state }: V2Context,
  event: AuditEvent['event'],
  { facts, audit }: { facts: AccessFacts; audit: Audit },
): void {
  const { ttfbMs: _, ms: __, source: ___, missed: ____, ...told } = facts;
  const { error } = state.record;
  const digest = error === undefined && response.get('Docker-Content-Digest');
  audit.write({
    event,
    door: 'public',
    ...told,
    ...(digest && digest !== told.reference && { digest }),
    ...(error instanceof ClientGoneError && { left: true }),
  });
}

/** In the words of the log, and what all who trace HTTP call the two facts that they look for. */
function endSpan(
  { method, status, state }: V2Context,
  span: OpenSpan,
  facts: SpanAttributes,
): void {
  const { kind, error } = state.record;
  for (const [name, value] of Object.entries(facts)) span.add({ [`entrepot.${name}`]: value });
  span.add({ 'http.request.method': method, 'http.response.status_code': status });
  const fault =
    status < 500 || error === undefined ? undefined : redact(toRegistryError(error).message);
  span.end(`${methodLabel(method)} ${kind}`, fault);
}

/** The message of an upstream's fault says all; a stack of this code adds nothing. */
function faultOf(error: unknown): object {
  return error instanceof UpstreamError ? { reason: redact(error.message) } : { err: error };
}

/** Who asked for what, and what came of it; the log leaves out what is undefined. */
function factsOf({ method, status, state, req }: V2Context, endedAt: number) {
  const { record } = state;
  const { id, trace, client, kind, upstream, target, source, bytes, reference } = record;
  const { startedAt, answeredAt = endedAt } = record;
  const agent = req.headers['user-agent'];
  return {
    id,
    trace: trace?.context.traceparent.split('-')[1],
    client,
    agent: agent && redact(agent.slice(0, MAX_SHOWN)),
    method,
    kind,
    subject: record.subject?.slice(0, MAX_SHOWN),
    tokenId: record.tokenId,
    denied: record.denied,
    foreign: record.foreign,
    target: target && formatTarget(target),
    upstream,
    reference: reference?.slice(0, MAX_SHOWN),
    status,
    source,
    missed: missReason(record),
    bytes,
    ttfbMs: tenths(answeredAt - startedAt),
    ms: tenths(endedAt - startedAt),
  };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Of what a client made up: a path, a registry, a tag, its own name. */
const MAX_SHOWN = 300;

/** Why it was refused, and what was asked for in the client's own words where no target tells. */
function refusalOf({ req, state }: V2Context, error: unknown): Record<string, string> {
  const { message } = toRegistryError(error);
  // Also of a target that is no URL.
  const [path = '', search] = (req.url ?? '').split('?', 2);
  const namespace = new URLSearchParams(search).get('ns') ?? undefined;
  return {
    ...(!state.record.target && { path: redact(path.slice(0, MAX_SHOWN)) }),
    ...(namespace !== undefined && { ns: redact(namespace.slice(0, MAX_SHOWN)) }),
    reason: redact(message),
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
  if (record.denied) metrics.access.denials.inc({ door: 'public', reason: record.denied });
  if (upstream === undefined || !source) return;
  const result = source;
  metrics.cacheRequests.inc({ upstream, kind, method, result });
  metrics.httpRequestSeconds.observe({ kind, result }, (answeredAt - startedAt) / 1000);
  if (bytes > 0) metrics.httpResponseBytes.inc({ upstream, kind, result }, bytes);
  const reason = missReason(record);
  if (reason) metrics.cacheMisses.inc({ upstream, kind, reason });
}

/** `undefined` for what is neither a miss nor a bypass. */
function missReason({ source, reason }: RequestRecord): MissReason | undefined {
  if (source === 'miss') return reason ?? 'cold';
  return source === 'bypass' ? (reason ?? 'unstored') : undefined;
}

/** A client may send any method; the values of a label must be bounded. */
function methodLabel(method: string): string {
  return method === 'GET' || method === 'HEAD' ? method : 'other';
}

/** What clients and proxies make: UUIDs, ULIDs, trace ids, nginx's and Envoy's. */
const ID = /^[\w.:-]{1,128}$/;

/** The id of a request: that of who sends it, where it is one that a log can hold, else a new one. */
export function requestId(given: string): string {
  return ID.test(given) && redact(given) === given ? given : randomUUID();
}

/** Whether a share of all ids has this one; the same answer for the same id, here and elsewhere. */
function isSampled(id: string, share: number): boolean {
  if (share === 0 || share === 1) return share === 1;
  return Number.parseInt(hash('sha256', id).slice(0, 8), 16) < share * 2 ** 32;
}
