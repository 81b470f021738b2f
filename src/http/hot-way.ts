import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { LRUCache } from 'lru-cache';
import type { Config } from '../config/config.ts';
import type { Answer } from '../mirror/answer.ts';
import type { RecalledManifest } from '../mirror/held-manifests.ts';
import type { Mirror } from '../mirror/mirror.ts';
import type { Traces } from '../observe/traces.ts';
import { isAcceptable } from '../oci/media-types.ts';
import { isHostHeader } from '../oci/host-header.ts';
import { isDigestReference, parseReference, type Reference } from '../oci/reference.ts';
import {
  isNotModified,
  keepApart,
  setCacheHeaders,
  setManifestHeaders,
  setPingHeaders,
  setVary,
} from './answer-headers.ts';
import type { UnderstoodRequest } from './content-request.ts';
import type { Door } from './door.ts';
import { sendable } from './manifest-handler.ts';
import { PreparedHeaders } from './prepared-headers.ts';
import {
  countersOf,
  logRequest,
  requestId,
  type RequestLogs,
  type RequestRecord,
} from './request-record.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** A request for a manifest that was answered before, and what its answer says but for its age. */
interface Known {
  readonly request: UnderstoodRequest;
  readonly reference: Reference;
  prepared?: Prepared;
}

interface Prepared {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly isPrivate: boolean;
  /** What a client accepts that has had it. */
  accept: string | undefined;
  readonly whole: PreparedHeaders;
  readonly unmodified: PreparedHeaders;
  readonly counters: Map<string, ReturnType<typeof countersOf>>;
}

/** Of this request: what a Koa context is otherwise. */
interface Visited {
  readonly req: IncomingMessage;
  readonly state: {
    readonly record: RequestRecord;
    readonly isProxied: boolean;
    inLine: string | undefined;
    isPrivate?: boolean;
  };
  set(): void;
}

export interface HotWayParts extends RequestLogs {
  readonly mirror: Pick<Mirror, 'recallManifest' | 'sent'>;
  readonly traces: Traces;
  readonly config: Pick<Config, 'admission' | 'log'>;
  readonly proxies: TrustedProxies;
  readonly door: Door;
}

/** A longer one goes the long way. */
const MAX_URL_LENGTH = 1024;
/** One that is longer is read anew each time: with so many entries it would fill the memory. */
const MAX_ACCEPT_LENGTH = 1024;
/** Of requests that are known, with what is prepared for them. */
const MAX_BYTES = 8 * 1024 * 1024;
/** Of one, beside its key. */
const ENTRY_BYTES = 4 * 1024;
const PING_BODY = '{}';

/**
 * The short way of a request whose answer needs nothing to be waited for: `/v2/`, and a manifest that is held,
 * fresh and in memory, to who is known at once. It says of each request anew what the application would say, by
 * the same functions; all that is prepared is how that is written. What is only a little unusual is left to the
 * application, and so is all that is refused.
 */
export class HotWay {
  readonly #parts: HotWayParts;
  readonly #known = new LRUCache<string, Known | 'ping'>({
    maxSize: MAX_BYTES,
    sizeCalculation: (_, key) => ENTRY_BYTES + 2 * key.length,
  });
  /** As they go out, for as long as the mirror has the bytes in memory, of which it has so many. */
  readonly #contents = new WeakMap<Buffer, string | Buffer>();
  readonly #asksScanner: boolean;
  readonly #ping = new PreparedHeaders(setPingHeaders, PING_BODY.length);
  readonly #guardedPing = new PreparedHeaders((answer) => {
    keepApart(answer);
    answer.set('Cache-Control', 'private, no-store');
    setPingHeaders(answer);
  }, PING_BODY.length);

  constructor(parts: HotWayParts) {
    this.#parts = parts;
    this.#asksScanner = parts.config.admission?.scanner !== undefined;
  }

  /** The application has answered this request, for a manifest or for `/v2/`; asked again, it means the same. */
  learn(req: IncomingMessage, request?: UnderstoodRequest): void {
    const host = this.#hostOf(req);
    if (host === undefined || !this.#isUsual(req)) return;
    const known = request ? { request, reference: parseReference(request.reference) } : 'ping';
    this.#known.set(keyOf(req, host), known);
  }

  /** False: nothing was done, and the application is to answer. */
  answer(req: IncomingMessage, res: ServerResponse): boolean {
    try {
      return this.#answer(req, res);
    } catch (err) {
      // The application tells what is wrong, unless it is too late to tell anything.
      if (!res.headersSent) return false;
      this.#parts.log.error({ err }, 'an answer broke off');
      res.destroy();
      return true;
    }
  }

  #answer(req: IncomingMessage, res: ServerResponse): boolean {
    const startedAt = performance.now();
    const host = this.#hostOf(req);
    if (host === undefined || !this.#isUsual(req)) return false;
    const known = this.#known.get(keyOf(req, host));
    if (!known) return false;
    const visit = this.#visit(req, startedAt);
    if (known === 'ping') return this.#answerPing(visit, res);
    return this.#answerManifest(visit, known, res);
  }

  #visit(req: IncomingMessage, startedAt: number): Visited {
    const { proxies, traces } = this.#parts;
    const client = proxies.clientOf(req);
    const id = requestId(headerOf(req, 'x-request-id'));
    const trace = traces.receive(req.headers);
    const record: RequestRecord = { startedAt, id, client, trace, kind: 'other', bytes: 0 };
    const isProxied = proxies.isProxied(req);
    return { req, state: { record, isProxied, inLine: client }, set: () => {} };
  }

  #answerPing(visit: Visited, res: ServerResponse): boolean {
    const { door } = this.#parts;
    const { req, state } = visit;
    state.record.kind = 'ping';
    if (!door.pingsAtOnce(visit)) return false;
    const headers = state.isPrivate ? this.#guardedPing : this.#ping;
    res.writeHead(200, headers.of(state.record.id, undefined));
    this.#tell(visit, 200, '');
    res.end(req.method === 'HEAD' ? undefined : PING_BODY, 'latin1');
    return true;
  }

  #answerManifest(visit: Visited, known: Known, res: ServerResponse): boolean {
    const { mirror, door } = this.#parts;
    const { req, state } = visit;
    const { request, reference } = known;
    const { target } = request;
    const answer = mirror.recallManifest(target, reference);
    if (!answer?.value || answer.source !== 'hit' || answer.ageMs === undefined) return false;
    if (answer.warning !== undefined || !door.admitsAtOnce(visit, 'pull', request)) return false;
    const prepared = this.#prepared(known, answer, state.isPrivate ?? false);
    const accept = headerOf(req, 'accept');
    if (accept !== prepared.accept && !isAcceptable(prepared.mediaType, accept)) return false;
    if (accept.length <= MAX_ACCEPT_LENGTH) prepared.accept = accept;
    const { digest, body, size } = answer.value;
    const isHead = req.method === 'HEAD';
    const { record } = state;
    record.kind = 'manifest';
    record.upstream = target.upstream;
    record.target = target;
    record.reference = request.reference;
    record.source = answer.source;
    const isUnmodified = isNotModified(visit, { digest, isVerified: true });
    if (!isUnmodified && !isHead) record.bytes = size;
    const status = isUnmodified ? 304 : 200;
    const headers = isUnmodified ? prepared.unmodified : prepared.whole;
    res.writeHead(status, headers.of(record.id, answer.ageMs));
    mirror.sent(isHead ? 'HEAD' : 'GET', target, reference, digest);
    this.#tell(visit, status, digest, prepared);
    if (isUnmodified || isHead) res.end();
    else res.end(this.#contentOf(body), 'latin1');
    return true;
  }

  #contentOf(body: Buffer): string | Buffer {
    const known = this.#contents.get(body);
    if (known !== undefined) return known;
    const content = sendable(body);
    this.#contents.set(body, content);
    return content;
  }

  /** What is prepared for it, made anew where the manifest or the client's right to it is another one. */
  #prepared(known: Known, answer: Answer<RecalledManifest>, isPrivate: boolean): Prepared {
    const { digest, mediaType, size } = answer.value!;
    const before = known.prepared;
    if (
      before?.digest === digest &&
      before.mediaType === mediaType &&
      before.size === size &&
      before.isPrivate === isPrivate
    )
      return before;
    const { request, reference } = known;
    const write = (whole: PreparedHeaders): void => {
      whole.set('OCI-Namespace', request.target.upstream);
      if (isPrivate) keepApart(whole);
      setCacheHeaders(whole, answer, { stored: false });
      setVary(whole);
      const isImmutable = isDigestReference(reference);
      setManifestHeaders(whole, { digest, mediaType, isVerified: true }, { isImmutable });
    };
    const whole = new PreparedHeaders(write, size);
    const unmodified = new PreparedHeaders(write, undefined);
    const counters = new Map<string, ReturnType<typeof countersOf>>();
    const about = { digest, mediaType, size, isPrivate, accept: undefined };
    return (known.prepared = { ...about, whole, unmodified, counters });
  }

  #tell({ req, state: { record } }: Visited, status: number, digest: string, prepared?: Prepared) {
    const { method = '' } = req;
    const told = { request: req, method, status, record, digest };
    const counters = prepared && this.#counters(prepared, told);
    logRequest(counters ? { ...told, counters } : told, this.#parts);
  }

  #counters({ counters }: Prepared, told: Parameters<typeof countersOf>[0]) {
    const key = told.method + told.status;
    const known = counters.get(key);
    if (known) return known;
    const made = countersOf(told, this.#parts.metrics);
    counters.set(key, made);
    return made;
  }

  /** `undefined` where the application has to look at it. */
  #hostOf({ rawHeaders, headers, socket }: IncomingMessage): string | undefined {
    const { host } = headers;
    if (!host) return undefined;
    let hosts = 0;
    for (let place = 0; place < rawHeaders.length; place += 2) {
      const name = rawHeaders[place]!;
      if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
    }
    if (hosts !== 1) return undefined;
    const meant = this.#parts.proxies.hostOf({ headers, socket }, host);
    // What is no host is refused, whatever a proxy tells beside it.
    return meant === host || isHostHeader(host) ? meant : undefined;
  }

  /** Nothing of it changes what an answer is, but for what is looked at here. */
  #isUsual({ method, url = '', headers }: IncomingMessage): boolean {
    if (method !== 'GET' && method !== 'HEAD') return false;
    if (this.#parts.traces.makesSpans || (this.#asksScanner && headers.authorization)) return false;
    return url.startsWith('/') && url.length <= MAX_URL_LENGTH && !isUnusual(headers);
  }
}

/** A mirror that asks a mirror, a client that wishes to know anew, a body. */
function isUnusual(headers: IncomingHttpHeaders): boolean {
  return (
    headers.via !== undefined ||
    headers['cache-control'] !== undefined ||
    headers['content-length'] !== undefined ||
    headers['transfer-encoding'] !== undefined ||
    headers.expect !== undefined
  );
}

/** All of a request by which it is told what it means; a header may have blanks, but no line feed. */
function keyOf(req: IncomingMessage, host: string): string {
  return `${host}\n${headerOf(req, 'oci-namespace')}\n${req.url}`;
}

function headerOf({ headers }: IncomingMessage, name: string): string {
  return headers[name]?.toString() ?? '';
}
