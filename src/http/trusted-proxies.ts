import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { HostList } from '../config/host-list.ts';
import { isHostHeader } from '../oci/host-header.ts';

type Headers = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined };
};

/** More are not looked at: each proxy adds one. */
const MAX_HOPS = 32;

/**
 * Who asks, as proxies tell of it that the operator trusts. What anybody else says of it counts for
 * nothing, and so does `Forwarded`: a proxy that knows only `X-Forwarded-For` would pass on a client's own.
 */
export class TrustedProxies {
  readonly #proxies: HostList | undefined;

  constructor(ranges: readonly string[]) {
    this.#proxies = ranges.length > 0 ? new HostList('trustProxy', ranges) : undefined;
  }

  /**
   * The address of the client: that of the connection, or the last one before it in
   * `X-Forwarded-For`, read from its end, that is no trusted proxy's. None at a socket in a folder.
   */
  clientOf({ headers, socket }: Headers): string | undefined {
    const peer = plainAddress(socket.remoteAddress);
    if (!this.#proxies) return peer;
    const told = headers['x-forwarded-for'];
    if (told === undefined || peer === undefined || !this.#isTrusted(peer)) return peer;
    let client = peer;
    for (const hop of [told].flat().join(',').split(',').slice(-MAX_HOPS).toReversed()) {
      const address = addressOf(hop);
      // What is no address ends what can be believed.
      if (address === undefined) return client;
      client = address;
      if (!this.#isTrusted(address)) return client;
    }
    return client;
  }

  /** The host that the client asked for, as the proxy next to this mirror tells it; else `host`. */
  hostOf({ headers, socket }: Headers, host: string): string {
    const told = headers['x-forwarded-host'];
    const peer = plainAddress(socket.remoteAddress);
    if (told === undefined || peer === undefined || !this.#isTrusted(peer)) return host;
    const named = [told].flat().join(',').split(',').at(-1)?.trim() ?? '';
    return named !== '' && isHostHeader(named) ? named : host;
  }

  /** By which the client reaches this mirror, as the proxy next to it tells; else as it came here. */
  schemeOf({ headers, socket }: Headers): 'http' | 'https' {
    const peer = plainAddress(socket.remoteAddress);
    const told = [headers['x-forwarded-proto'] ?? ''].flat().at(-1)?.split(',').at(-1)?.trim();
    const isTold = told === 'http' || told === 'https';
    if (isTold && peer !== undefined && this.#isTrusted(peer)) return told;
    return 'encrypted' in socket && socket.encrypted === true ? 'https' : 'http';
  }

  /** Whether a trusted proxy sent it: at the other end of the connection is not who asks. */
  isProxied({ socket }: Headers): boolean {
    if (!this.#proxies) return false;
    const peer = plainAddress(socket.remoteAddress);
    return peer !== undefined && this.#isTrusted(peer);
  }

  #isTrusted(address: string): boolean {
    return this.#proxies?.has(address, 0) ?? false;
  }
}

/** An IPv4 address that arrives on an IPv6 socket is itself. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.startsWith(':') ? address.replace(/^::ffff:(?=\d+\.)/i, '') : address;
}

/** Of `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`; of nothing else. */
function addressOf(hop: string): string | undefined {
  const text = hop.trim();
  const [, v6, v4] = /^(?:\[([\da-f:.]+)\](?::\d+)?|([\d.]+):\d+)$/i.exec(text) ?? [];
  const address = plainAddress(v6 ?? v4 ?? text);
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}
