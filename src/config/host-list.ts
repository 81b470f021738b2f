import { BlockList, isIP } from 'node:net';
import { ConfigError } from './problems.ts';
import { hostMeant, isHost } from './registries.ts';
import { TEXTS } from './texts.ts';

/** `10.0.0.0/8`; an address alone is a range of one. */
interface AddressRange {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly bits: number;
}

/** Throws a `ConfigError` for what is no host, `*.host`, address or range of addresses. */
export function parseHostEntry(text: string): AddressRange | string {
  const [, address = '', bits] = /^\[?([0-9a-f:.]+)\]?(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const version = isIP(address);
  if (version !== 0) {
    const widest = version === 4 ? 32 : 128;
    const length = Number(bits ?? widest);
    if (length > widest) throw new ConfigError([TEXTS.hostEntry]);
    return { address, family: version === 4 ? 'ipv4' : 'ipv6', bits: length };
  }
  const [, below = '', named = ''] = /^(\*\.)?(.*)$/s.exec(text) ?? [];
  const host = hostMeant(named).replace(/:\d+$/, '');
  if (!isHost(host)) throw new ConfigError([TEXTS.hostEntry]);
  if (host !== named) throw new ConfigError([TEXTS.writeName({ name: `${below}${host}` })]);
  return text;
}

/** Where redirects may lead, and where tokens may come from. */
type ListKey = 'storage' | 'realms';

/** Hosts and addresses that the configuration names under a key. */
export class HostList {
  /** Where the configuration names them, for those who are told to. */
  readonly key: string;
  readonly #hosts: readonly string[];
  readonly #ranges = new BlockList();

  constructor(key: string, entries: readonly string[]) {
    this.key = key;
    const parsed = entries.map(parseHostEntry);
    this.#hosts = parsed.filter((entry) => typeof entry === 'string');
    for (const entry of parsed) {
      if (typeof entry === 'string') continue;
      this.#ranges.addSubnet(entry.address, entry.bits, entry.family);
    }
  }

  /** What an upstream's entry names under one of its keys. */
  static of(
    {
      name,
      ...lists
    }: { readonly name: string } & { readonly [Key in ListKey]: readonly string[] },
    key: ListKey,
  ): HostList {
    return new HostList(`upstreams.${name}.${key}`, lists[key]);
  }

  /** Whether a host of a URL is named: by its name, or by the address that it is. */
  hasHost(hostname: string): boolean {
    const host = hostname.replace(/^\[|\]$/g, '');
    return isIP(host) === 0
      ? this.#hosts.some((entry) =>
          entry.startsWith('*.') ? host.endsWith(entry.slice(1)) : host === entry,
        )
      : this.hasAddress(host);
  }

  hasAddress(address: string): boolean {
    return this.#ranges.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }
}
