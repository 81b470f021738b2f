import { isIPv4, isIPv6 } from 'node:net';
import { ConfigError } from './config-error.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Where the two doors are when the file says nothing. */
export const DEFAULT_ADDRESSES = { listen: '0.0.0.0:5000', admin: '127.0.0.1:5001' } as const;

const ADDRESS = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/;
const HOST_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;

/**
 * `127.0.0.1:5000`, `[::]:5000` or `:5000`, which is every IPv4 address. Throws a `ConfigError`
 * that says what to write.
 */
export function parseListenAddress(text: string): ListenAddress {
  const [, ipv6, name, digits] = ADDRESS.exec(text) ?? [];
  const port = Number(digits);
  const host = ipv6 ?? (name === '' ? '0.0.0.0' : name);
  if (host === undefined || !isHost(host, ipv6 !== undefined) || !(port <= 65_535)) {
    throw new ConfigError([
      `write an address and a port such as "0.0.0.0:5000" or "[::]:5000", not "${text}"`,
    ]);
  }
  return { host, port };
}

function isHost(host: string, isBracketed: boolean): boolean {
  if (isBracketed) return isIPv6(host);
  // Digits and dots that are no address are a slip of the hand, not a name.
  return /^[\d.]+$/.test(host) ? isIPv4(host) : HOST_NAME.test(host);
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
