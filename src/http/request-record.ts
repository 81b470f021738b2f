import type { IncomingMessage } from 'node:http';
import type { ParameterizedContext } from 'koa';
import type { Config } from '../config/config.ts';
import type { MissReason } from '../mirror/answer.ts';
import type { Audit, AuditEvent } from '../observe/audit.ts';
import type { Denial, REQUEST_KINDS, RequestResult } from '../observe/declarations.ts';
import { logFacts, type Log } from '../observe/log.ts';
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

/** Of a request what tells who asks, and what is answered with: a Koa context is one. */
export interface Visit {
  readonly req: Pick<IncomingMessage, 'headers' | 'socket'>;
  readonly state: Pick<V2State, 'record' | 'isProxied' | 'inLine' | 'isPrivate'>;
  /** Of a header of the answer. */
  set(name: string, value: string): void;
}

export interface RequestLogs {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly audit: Audit;
  readonly config: Pick<Config, 'log'>;
}

interface Answered {
  readonly method: string;
  readonly status: number;
  readonly record: RequestRecord;
}

/** A request and how it was answered. */
export interface Told extends Answered {
  readonly request: Pick<IncomingMessage, 'headers' | 'url'>;
  /** `Docker-Content-Digest` of the answer. */
  readonly digest: string;
  /** Where they were looked up before. */
  readonly counters?: ReturnType<typeof countersOf>;
}

/** Writes the lines and the metrics of a request that is answered: the one place for all of them. */
export function logRequest(told: Told, { metrics, log, audit, config }: RequestLogs): void {
  const { record, status } = told;
  const endedAt = performance.now();
  count(told, endedAt, metrics);
  const { error, answeredAt, id } = record;
  const isGone = error instanceof ClientGoneError;
  // After the headers only the cut connection tells the client, and only this line the operator.
  const isCut = error !== undefined && !isGone && answeredAt !== undefined;
  const isFault = isCut || (error !== undefined && !isGone && status >= 500);
  const isLogged = isFault || status >= 400 || isSampled(id, config.log.access);
  const span = record.trace?.span;
  const event = audit.isOn ? auditEventOf(record) : undefined;
  if (!isLogged && !span && !event) return;
  const facts: AccessFacts = factsOf(told, endedAt);
  if (span) endSpan(told, span, facts);
  if (event) writeAudit(told, event, { facts, audit });
  if (!isLogged) return;
  // Into the one object: a copy of it would cost as much as the line.
  if (isGone) facts.left = true;
  else if (error !== undefined) {
    if (isCut) facts.cut = true;
    Object.assign(facts, isFault ? faultOf(error) : refusalOf(told, error));
  }
  if (isFault) log.warn(facts, 'request');
  else logFacts(log, facts, 'request');
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
  { digest, record }: Told,
  event: AuditEvent['event'],
  { facts, audit }: { facts: AccessFacts; audit: Audit },
): void {
  const { ttfbMs: _, ms: __, source: ___, missed: ____, ...told } = facts;
  const { error } = record;
  audit.write({
    event,
    door: 'public',
    ...told,
    ...(error === undefined && digest && digest !== told.reference && { digest }),
    ...(error instanceof ClientGoneError && { left: true }),
  });
}

/** In the words of the log, and what all who trace HTTP call the two facts that they look for. */
function endSpan({ method, status, record }: Told, span: OpenSpan, facts: SpanAttributes): void {
  const { kind, error } = record;
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
function factsOf({ method, status, record, request }: Told, endedAt: number) {
  const { id, trace, client, kind, upstream, target, source, bytes, reference } = record;
  const { startedAt, answeredAt = endedAt } = record;
  const agent = request.headers['user-agent'];
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
function refusalOf({ request, record }: Told, error: unknown): Record<string, string> {
  const { message } = toRegistryError(error);
  // Also of a target that is no URL.
  const [path = '', search] = (request.url ?? '').split('?', 2);
  const namespace = new URLSearchParams(search).get('ns') ?? undefined;
  return {
    ...(!record.target && { path: redact(path.slice(0, MAX_SHOWN)) }),
    ...(namespace !== undefined && { ns: redact(namespace.slice(0, MAX_SHOWN)) }),
    reason: redact(message),
  };
}

function count(told: Told, endedAt: number, metrics: Metrics): void {
  const { record } = told;
  const { kind, upstream, bytes, startedAt, answeredAt = endedAt } = record;
  const { requests, ofContent } = told.counters ?? countersOf(told, metrics);
  requests.count += 1;
  if (record.denied) metrics.access.denials.inc({ door: 'public', reason: record.denied });
  if (!ofContent) return;
  ofContent.answers.count += 1;
  ofContent.bytes.count += bytes;
  ofContent.seconds.observe((answeredAt - startedAt) / 1000);
  const reason = missReason(record);
  if (upstream !== undefined && reason) metrics.cacheMisses.inc({ upstream, kind, reason });
}

/** Those in which a request is counted that is answered so. */
export function countersOf({ method: sent, status, record }: Answered, metrics: Metrics) {
  const { kind, upstream, source: result } = record;
  const method = methodLabel(sent);
  const requests = metrics.httpRequests.bind({ kind, method, code: String(status) });
  if (upstream === undefined || !result) return { requests };
  const ofContent = {
    answers: metrics.cacheRequests.bind({ upstream, kind, method, result }),
    bytes: metrics.httpResponseBytes.bind({ upstream, kind, result }),
    seconds: metrics.httpRequestSeconds.labels({ kind, result }),
  };
  return { requests, ofContent };
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
