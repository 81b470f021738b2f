import { BlockList, isIP, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';

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
