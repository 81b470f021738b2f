import { RegistryError } from './errors.ts';
import { TEXTS } from './texts.ts';

/** A name, an IPv4 address or an IPv6 one in brackets, and a port (RFC 3986 section 3.2.2). */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d{0,5})?$/i;

export interface HostHeader {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly httpVersion: string;
}

/**
 * Throws 400 unless exactly one `Host` says a host: what stands in front might have gone by another
 * one (RFC 9112 section 3.2). HTTP/1.0 knows none, and balancers still ask by it.
 */
export function requireHost({ rawHeaders, httpVersion }: HostHeader): void {
  const hosts = rawHeaders.filter(
    (_, place) => place % 2 === 1 && rawHeaders[place - 1]?.toLowerCase() === 'host',
  );
  const [host = '', ...others] = hosts;
  if (host === '' && others.length === 0 && httpVersion === '1.0') return;
  if (others.length === 0 && HOST.test(host)) return;
  const message =
    hosts.length > 1 ? TEXTS.severalHosts : host === '' ? TEXTS.noHost : TEXTS.badHost;
  throw new RegistryError('UNSUPPORTED', { status: 400, message });
}
