import { parseJsonObject } from '../net/content-coding.ts';
import type { TransportResponse } from '../net/transport.ts';
import type { Digest } from '../oci/digest.ts';
import { parseContentRange, parseLength } from '../oci/content.ts';
import { essence } from '../oci/media-types.ts';
import type { UpstreamFault } from '../oci/upstream-error.ts';
import { timeUntil, type Clock } from '../time/clock.ts';
import type { Secrets } from './secrets.ts';
import type { ParentCopy } from './upstream.ts';
import { TEXTS } from './texts.ts';

/** What is wrong with an answer. The reason names host and cause. */
export interface AnswerFault {
  readonly fault: UpstreamFault;
  readonly reason: string;
}

interface Judged {
  readonly response: TransportResponse;
  /** It comes from the registry itself, not from a host that it redirects to. */
  readonly isOwn: boolean;
}

interface Asked {
  /** How the request was made known: `anonymously`. */
  readonly login: string;
}

const MAX_ERROR_BYTES = 16 * 1024;
/** What policies say goes on to how an image is exempted, and three mirrors in a row add their names. */
const MAX_REASON_LENGTH = 600;
/** It holds the reason of another mirror, in a sentence of its own. */
const MAX_WARNING_LENGTH = 800;
const MAX_RETRY_AFTER_MS = 3_600_000;
const MAX_CREDIBLE_MS = 48 * MAX_RETRY_AFTER_MS;
/** For a date that only our own clock can be compared with, which may be wrong. */
const MAX_UNDATED_MS = 60_000;
/** RFC 9211, as this mirror writes it itself. */
const COPY = /(?:^|,)\s*entrepot\s*;\s*hit\s*;\s*detail=(stale|negative)\s*(?:$|,)/;
/** The spec's one form of a warning. */
const WARNING = /^299 - "((?:[^"\\]|\\.)*)"/;

/** `undefined` when an answer may count: content, and 404. */
export function judge(answer: Judged, asked: Asked): AnswerFault | undefined {
  const { status, headers, url } = answer.response;
  if (status === 404) return undefined;
  if (status !== 200 && status !== 206) return judgeStatus(answer, asked);
  // A portal's or a login's page with 200 is no proof that a registry has anything.
  if (essence(headers['content-type']) === 'text/html') {
    return { fault: 'bad-response', reason: TEXTS.page({ host: url.host }) };
  }
  return undefined;
}

function judgeStatus(
  { response: { status, url }, isOwn }: Judged,
  { login }: Pick<Asked, 'login'>,
): AnswerFault {
  const { host } = url;
  switch (status) {
    case 401:
      return { fault: 'unauthorized', reason: TEXTS.refused({ host, login }) };
    case 403:
      // The registry will sign another address.
      if (!isOwn) {
        return { fault: 'failing', reason: TEXTS.redirectRefused({ host }) };
      }
      return { fault: 'denied', reason: TEXTS.denied({ host, login }) };
    case 429:
      return { fault: 'rate-limited', reason: TEXTS.rateLimited({ host }) };
    // Two mirrors that have each other as upstream: asking again goes round again.
    case 508:
      return { fault: 'bad-response', reason: TEXTS.loop({ host }) };
    default:
      return { fault: faultOf(status), reason: TEXTS.answered({ host, status }) };
  }
}

function faultOf(status: number): UpstreamFault {
  if (status >= 500 || status === 408) return 'failing';
  // 407 is a proxy's on the way.
  return status >= 400 && status !== 407 ? 'refused' : 'bad-response';
}

/**
 * `: CODE: message` of an error document of the distribution spec, or the words of another one; else
 * nothing. A page is never repeated.
 */
export async function readErrorMessage(
  response: TransportResponse,
  secrets: Secrets,
): Promise<string> {
  if (response.status < 300) {
    response.destroy();
    return '';
  }
  if (!/^application\/(?:[\w.-]+\+)?json$/.test(essence(response.headers['content-type']))) {
    await response.dump();
    return '';
  }
  // What breaks here takes nothing from the status.
  const document = parseJsonObject(await response.readText(MAX_ERROR_BYTES));
  // Of RFC 9457, and of gateways in front of registries.
  const other = [document?.['detail'], document?.['message'], document?.['title']].find(isWord);
  return describeErrors(document, secrets) || said(other ?? '', secrets);
}

/**
 * Milliseconds from the seconds or the HTTP date of a `Retry-After` (RFC 9110 section 10.2.3);
 * `undefined` for what is not in the future or is neither, and for what lies more than two days ahead:
 * no registry limits its clients for so long. An hour at most. A date counts from the answer's own
 * `Date`, whatever our clock says; where an answer has none, it counts for a minute at most.
 */
export function parseRetryAfter(
  { 'retry-after': value, date }: Readonly<Record<string, string>>,
  clock: Clock,
): number | undefined {
  const text = value?.trim() ?? '';
  const isDate = /^(?:mon|tue|wed|thu|fri|sat|sun)/i.test(text);
  if (!isDate) return credible(/^\d+$/.test(text) ? Number(text) * 1000 : 0);
  const [until, sent] = [Date.parse(text), Date.parse(date ?? '')];
  if (!Number.isNaN(sent)) return credible(until - sent);
  const ms = credible(timeUntil(until, clock));
  return ms && Math.min(ms, MAX_UNDATED_MS);
}

function credible(ms: number): number | undefined {
  return ms > 0 && ms <= MAX_CREDIBLE_MS ? Math.min(ms, MAX_RETRY_AFTER_MS) : undefined;
}

/** `: CODE: message` of a parsed error document, without a secret; else nothing. */
export function describeErrors(
  document: Record<string, unknown> | undefined,
  secrets: Secrets,
): string {
  const errors = document?.['errors'];
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== 'object' || first === null) return '';
  const { code, message } = first as { code?: unknown; message?: unknown };
  return said([code, message].filter(isWord).join(': '), secrets);
}

function isWord(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function said(words: string, secrets: Secrets): string {
  return words === '' ? '' : `: ${secrets.tell(words, MAX_REASON_LENGTH)}`;
}

/**
 * What the upstream says of its answer when it is such a mirror and could not ask; `undefined` when
 * the answer is the registry's own, or one that the mirror holds to be fresh.
 */
export function parentCopy(
  headers: Readonly<Record<string, string>>,
  secrets: Secrets,
): ParentCopy | undefined {
  const detail = COPY.exec(headers['cache-status'] ?? '')?.[1];
  const told = WARNING.exec(headers['warning'] ?? '')?.[1];
  // An absence without a warning is what its upstream just said.
  if (detail === undefined || (detail === 'negative' && told === undefined)) return undefined;
  const text = told ?? TEXTS.copyNotConfirmed;
  const seconds = parseLength(headers['age']) ?? 0;
  const warning = secrets.tell(text.replaceAll(/\\(.)/g, '$1'), MAX_WARNING_LENGTH);
  return { ageMs: seconds * 1000, warning };
}

/** What a HEAD says of a compressed answer is the length of that. */
export function sizeFrom({
  codings,
  headers,
}: Pick<TransportResponse, 'codings' | 'headers'>): number | undefined {
  return codings.length > 0 ? undefined : parseLength(headers['content-length']);
}

/** Whether an answer that calls itself a page has the blob's digest, or its length as listed. */
export function isOfBlob(
  { codings, headers }: Pick<TransportResponse, 'codings' | 'headers'>,
  digest: Digest,
  size: number | undefined,
): boolean {
  if (headers['docker-content-digest'] === digest) return true;
  if (size === undefined) return false;
  const range = parseContentRange(headers['content-range']);
  return size === (range?.size ?? sizeFrom({ codings, headers }));
}
