import { BlockList, isIP, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * `loopback`: this machine. `internal`: a private network. `link-local` is also where the instance
 * metadata services of the clouds live.
 */
export type AddressClass = 'public' | 'internal' | 'loopback' | 'link-local';

type Subnet = readonly [address: string, bits: number];

/** Mapped, compatible, translated (RFC 2765) and NAT64 (RFC 6052, 8215): an IPv4 address stands behind. */
const EMBEDDINGS = ['::ffff:', '::', '::ffff:0:', '64:ff9b::', '64:ff9b:1::'] as const;

/** With the metadata services elsewhere: Alibaba, Oracle, Azure, and AWS by IPv6. */
const LINK_LOCAL = createList(
  [
    ['169.254.0.0', 16],
    ['100.100.100.200', 32],
    ['192.0.0.192', 32],
    ['168.63.129.16', 32],
  ],
  [
    ['fe80::', 10],
    ['fd00:ec2::254', 128],
  ],
);

/** To Linux, the unspecified address as a destination is the loopback one. */
const LOOPBACK = createList(
  [
    ['0.0.0.0', 8],
    ['127.0.0.0', 8],
  ],
  [
    ['::', 128],
    ['::1', 128],
  ],
);

const INTERNAL = createList(
  [
    ['10.0.0.0', 8],
    ['100.64.0.0', 10],
    ['172.16.0.0', 12],
    ['192.0.0.0', 24],
    ['192.168.0.0', 16],
    ['198.18.0.0', 15],
    ['224.0.0.0', 3],
  ],
  [
    ['fc00::', 7],
    ['fec0::', 10],
    ['ff00::', 8],
    ['64:ff9b:1::', 48],
  ],
);

/**
 * How far away a host is, by its literal form only: names are not resolved. IPv4 addresses inside
 * IPv6 ones count as themselves.
 */
export function addressClassOf(hostname: string): AddressClass {
  const host = hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (host === 'metadata.google.internal') return 'link-local';
  if (/(?:^|\.)localhost$/.test(host)) return 'loopback';
  if (/(?:^|\.)(?:internal|local|home\.arpa)$/.test(host)) return 'internal';
  if (isIP(host) === 0) return 'public';
  const family = isIP(host) === 4 ? 'ipv4' : 'ipv6';
  if (LINK_LOCAL.check(host, family)) return 'link-local';
  if (LOOPBACK.check(host, family)) return 'loopback';
  return INTERNAL.check(host, family) ? 'internal' : 'public';
}

function createList(ipv4: readonly Subnet[], ipv6: readonly Subnet[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of ipv4) {
    list.addSubnet(address, bits, 'ipv4');
    for (const before of EMBEDDINGS) list.addSubnet(`${before}${address}`, 96 + bits, 'ipv6');
    // In 6to4 (RFC 3056) it stands in front.
    const [, high, low] = /^(....)(....)$/.exec(hexOf(address)) ?? [];
    list.addSubnet(`2002:${high}:${low}::`, 16 + bits, 'ipv6');
  }
  for (const [address, bits] of ipv6) list.addSubnet(address, bits, 'ipv6');
  return list;
}

function hexOf(address: string): string {
  return Buffer.from(address.split('.').map(Number)).toString('hex');
}

/**
 * Where this process itself listens. No upstream may have these addresses dialled: what answers
 * there is meant for this machine, or would ask the mirror for what it is asking.
 */
export class OwnListeners {
  readonly #bound: Pick<AddressInfo, 'address' | 'port'>[] = [];

  add({ address, port }: Pick<AddressInfo, 'address' | 'port'>): void {
    this.#bound.push({ address, port });
  }

  /** Whether a connection to this literal address and port would come back to this process. */
  includes(address: string, port: number): boolean {
    const at = this.#bound.filter((own) => own.port === port);
    return at.some((own) => reachedBy(own.address).check(address, familyOf(address)));
  }
}

/** The addresses by which a listener can be reached from this machine, mapped forms included. */
function reachedBy(bound: string): BlockList {
  const list = new BlockList();
  const add = (address: string): void => list.addAddress(address, familyOf(address));
  const isAny = bound === '0.0.0.0' || bound === '::';
  add(bound);
  // To Linux, the unspecified address as a destination is the loopback one.
  ['0.0.0.0', '::'].forEach(add);
  if (!isAny) return list;
  list.addSubnet('127.0.0.0', 8, 'ipv4');
  add('::1');
  // As they are now: an interface may have come since the listener was opened.
  for (const { address } of Object.values(networkInterfaces()).flatMap((each) => each ?? [])) {
    add(address);
  }
  return list;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}
