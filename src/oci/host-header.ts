import { badRequest } from './errors.ts';
import { TEXTS } from './texts.ts';

/** A name, an IPv4 address or an IPv6 one in brackets, and a port (RFC 3986 section 3.2.2). */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d{0,5})?$/i;

/** Whether a text may stand in a `Host` header. */
export function isHostHeader(text: string): boolean {
  return HOST.test(text);
}

interface RequestHead {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly httpVersion: string;
  readonly url?: string | undefined;
}

/**
 * The host that a request is for: of its target where that is a whole URL, else of its `Host` (RFC 9112
 * section 3.2.2); empty for HTTP/1.0 without one, by which balancers still ask. Throws 400 unless the
 * target is a path or such a URL, and exactly one `Host` says a host: what stands in front might have
 * gone by another one.
 */
export function requestedHost({ rawHeaders, httpVersion, url = '' }: RequestHead): string {
  let said: string | undefined;
  for (let place = 0; place < rawHeaders.length; place += 2) {
    if (rawHeaders[place]?.toLowerCase() !== 'host') continue;
    if (said !== undefined) throw badRequest(TEXTS.severalHosts);
    said = rawHeaders[place + 1];
  }
  const host = said ?? '';
  if (host === '' && httpVersion !== '1.0') throw badRequest(TEXTS.noHost);
  if (host !== '' && !isHostHeader(host)) throw badRequest(TEXTS.badHost);
  if (url.startsWith('/')) return host;
  const [, authority = ''] = /^https?:\/\/([^/?#]*)/i.exec(url) ?? [];
  if (!isHostHeader(authority) || !URL.canParse(url)) throw badRequest(TEXTS.noPath);
  return authority;
}
