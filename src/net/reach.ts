import { isIP } from 'node:net';

/** `link-local` is also where the instance metadata services of the clouds live. */
export type Reach = 'public' | 'internal' | 'link-local';

/**
 * How far away a host is, by its literal form only: names are not resolved. IPv4 addresses inside
 * IPv6 ones (mapped, NAT64, 6to4) count as themselves.
 */
export function reachOf(hostname: string): Reach {
  const host = hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (host === 'metadata.google.internal') return 'link-local';
  if (/(?:^|\.)(?:localhost|internal|local|home\.arpa)$/.test(host)) return 'internal';
  if (isIP(host) === 4) return reachOfIPv4(host.split('.').map(Number));
  if (host === AWS_METADATA) return 'link-local';
  if (isIP(host) === 6) return reachOfIPv6(expand(host));
  return 'public';
}

/** Metadata services of clouds outside the link-local network: Alibaba, Oracle, and AWS by IPv6. */
const METADATA_SERVICES: ReadonlySet<string> = new Set(['100.100.100.200', '192.0.0.192']);
const AWS_METADATA = 'fd00:ec2::254';

function reachOfIPv4(octets: readonly number[]): Reach {
  const [a = 0, b = 0] = octets;
  if ((a === 169 && b === 254) || METADATA_SERVICES.has(octets.join('.'))) return 'link-local';
  const isInternal =
    a === 0 ||
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && (b === 168 || (b === 0 && octets[2] === 0))) ||
    (a === 198 && (b === 18 || b === 19)) ||
    a >= 224;
  return isInternal ? 'internal' : 'public';
}

function reachOfIPv6(groups: readonly number[]): Reach {
  const [first = 0, second = 0, third = 0] = groups;
  const high = groups.slice(0, 6).join(':');
  // Mapped and compatible, NAT64 (RFC 6052), 6to4 (RFC 3056).
  if (/^0:0:0:0:(0|65535):(0|65535)$/.test(high) || high === '100:65435:0:0:0:0') {
    const [seventh = 0, eighth = 0] = groups.slice(6);
    if (high === '0:0:0:0:0:0' && seventh === 0) return 'internal';
    return reachOfIPv4(octets(seventh, eighth));
  }
  if (first === 0x2002) return reachOfIPv4(octets(second, third));
  if ((first & 0xffc0) === 0xfe80) return 'link-local';
  return (first & 0xfe00) === 0xfc00 ? 'internal' : 'public';
}

function octets(high: number, low: number): number[] {
  return [high >> 8, high & 255, low >> 8, low & 255];
}

/** The eight groups of an address. A dotted end, which URLs never have, is turned into two first. */
function expand(address: string): number[] {
  const plain = address
    .replace(/%.*$/, '')
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
      const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
      return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
    });
  const [head = '', tail] = plain.split('::');
  const read = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [read(head), read(tail ?? '')];
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  return [...before, ...Array.from({ length: zeros }, () => 0), ...after];
}
