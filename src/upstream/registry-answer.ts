import type { IncomingHttpHeaders } from 'node:http';
import { timeUntil, type Clock } from '../time/clock.ts';
import { essence } from '../oci/media-types.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { parseJsonObject, readSmall } from '../net/small-body.ts';
import type { Sender, TransportResponse } from '../net/transport.ts';

/** An answer to one request, after all redirects. */
export interface RegistryAnswer {
  readonly response: TransportResponse;
  readonly url: URL;
  readonly method: 'GET' | 'HEAD';
}

export interface JudgeParts {
  readonly upstream: string;
  readonly registry: URL;
  /** How the request was made known: `anonymously`, `as robot`. */
  readonly login: string;
  readonly sender: Sender;
  /** How long a registry that says 429 and nothing else is left alone, milliseconds. */
  readonly waitMs: () => number;
  /** The answer to a GET in place of a HEAD. */
  readonly readWords: () => Promise<TransportResponse>;
  readonly clock: Clock;
}

const MAX_ERROR_BYTES = 16 * 1024;
const MAX_REASON_LENGTH = 200;

/**
 * The fault in an answer, or `undefined` when it may count: content as it is, 404, and 405 to a
 * HEAD. The message names host and cause; of the body only a registry's own JSON error is repeated,
 * never a page.
 */
export async function findFault(
  { response, url, method }: RegistryAnswer,
  parts: JudgeParts,
): Promise<UpstreamError | undefined> {
  const { statusCode: status, headers, body } = response;
  const fail = (fault: UpstreamError['fault'], reason: string): UpstreamError => {
    const told = parseRetryAfter(single(headers['retry-after']), parts.clock);
    const isLimit = status === 429 && url.origin === parts.registry.origin;
    const retryAfterMs = told ?? (isLimit ? parts.waitMs() : undefined);
    return new UpstreamError(parts.upstream, fault, reason, {
      status,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  };
  if (status === 200 || status === 206) {
    // A portal's or a login's page with 200 is no proof that a registry has anything.
    const isPage = essence(single(headers['content-type'])) === 'text/html';
    const encoding = single(headers['content-encoding']) ?? 'identity';
    if (!isPage && encoding === 'identity') return undefined;
    body.destroy();
    if (isPage) return fail('bad-response', `${url.host} sent an HTML page`);
    return fail('bad-response', `${url.host} encoded the content as ${encoding}`);
  }
  const isOwn = url.origin === parts.registry.origin;
  const isMute = method === 'HEAD' && isOwn && (status === 401 || status === 403);
  const said = isMute ? await ask(url, parts) : await readReason(response, url, parts.sender);
  if (status === 404 || (status === 405 && method === 'HEAD')) return undefined;
  const { fault, reason } = describeStatus(status, url, parts);
  return fail(fault, `${reason}${said}`);
}

function describeStatus(
  status: number,
  { host, origin }: URL,
  { registry, login }: JudgeParts,
): { fault: UpstreamError['fault']; reason: string } {
  switch (status) {
    case 401:
      return { fault: 'unauthorized', reason: `${host} refused access ${login} (401)` };
    case 403:
      // The registry will sign another address.
      if (origin !== registry.origin) {
        return { fault: 'failing', reason: `${host} refused the registry's redirect (403)` };
      }
      return { fault: 'denied', reason: `${host} denied access ${login} (403)` };
    case 429:
      return { fault: 'rate-limited', reason: `${host} limits the rate of requests (429)` };
    // Two mirrors that have each other as upstream: asking again goes round again.
    case 508:
      return { fault: 'bad-response', reason: `${host} found the request going in a loop (508)` };
    default: {
      const fault = status >= 500 || status === 408 ? 'failing' : 'bad-response';
      return { fault, reason: `${host} answered ${status}` };
    }
  }
}

async function ask(url: URL, { readWords, sender }: JudgeParts): Promise<string> {
  // What goes wrong here takes nothing from the first answer.
  const answer = await readWords().catch(() => undefined);
  return answer ? readReason(answer, url, sender) : '';
}

/** `: CODE: message` of an error document of the distribution spec; else nothing. */
async function readReason(
  { headers, body }: TransportResponse,
  url: URL,
  sender: Sender,
): Promise<string> {
  if (!/^application\/(?:[\w.-]+\+)?json$/.test(essence(single(headers['content-type'])))) {
    await body.dump();
    return '';
  }
  // What breaks here takes nothing from the status.
  const bytes = await readSmall(sender.chunks(body, url), MAX_ERROR_BYTES).catch(() => undefined);
  return describeErrors(parseJsonObject(bytes));
}

/**
 * Milliseconds from the seconds or the HTTP date of a `Retry-After` (RFC 9110 section 10.2.3);
 * `undefined` for what is not in the future or is neither.
 */
export function parseRetryAfter(value: string | undefined, clock: Clock): number | undefined {
  const text = value?.trim() ?? '';
  const isSeconds = /^\d{1,9}$/.test(text);
  const isDate = /^(?:mon|tue|wed|thu|fri|sat|sun)/i.test(text);
  const ms = isSeconds ? Number(text) * 1000 : isDate ? timeUntil(Date.parse(text), clock) : 0;
  return ms > 0 ? ms : undefined;
}

/** `: CODE: message` of a parsed error document; else nothing. */
export function describeErrors(document: Record<string, unknown> | undefined): string {
  const errors = document?.['errors'];
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== 'object' || first === null) return '';
  const { code, message } = first as { code?: unknown; message?: unknown };
  const words = [code, message].filter((word) => typeof word === 'string' && word !== '');
  return words.length === 0 ? '' : `: ${clean(words.join(': '))}`;
}

/** Safe in a header, a log line and a terminal. */
function clean(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_REASON_LENGTH);
}

export function single(value: IncomingHttpHeaders[string]): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

export function singles(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const first = single(value);
      return first === undefined ? [] : [[name, first]];
    }),
  );
}
