import { BlockList, isIP } from 'node:net';
import { ConfigError } from './problems.ts';
import { hostMeant, isHost } from './registries.ts';
import { TEXTS } from './texts.ts';

interface HostEntry {
  /** A name, or `*.` and the zone that it is in. */
  readonly host: string;
  /** Left out, any. */
  readonly port?: number;
}

/** `10.0.0.0/8`; an address alone is a range of one. */
interface AddressEntry {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly bits: number;
  readonly port?: number;
}

const PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

/** The written form of an entry, for editors. */
export const HOST_ENTRY_FORM = '^(?:\\*\\.)?[a-z0-9.-]+$|^\\[?[0-9A-Fa-f:.]+\\]?(?:/\\d{1,3})?$';

/** Throws a `ConfigError` for what is no host, `*.host`, address or range, each with a port or without. */
export function parseHostEntry(text: string): AddressEntry | HostEntry {
  const whole = parseAddress(text);
  if (whole) return whole;
  const [, before = text, digits] = /^([^:]+|\[.+\]):([1-9]\d{0,4})$/.exec(text) ?? [];
  if (Number(digits ?? 1) > 65_535) throw new ConfigError([TEXTS.hostEntry]);
  const port = digits === undefined ? {} : { port: Number(digits) };
  const address = parseAddress(before);
  if (address) return { ...address, ...port };
  const [, zone = '', named = ''] = /^(\*\.)?(.*)$/s.exec(withoutDot(before)) ?? [];
  const host = hostMeant(named);
  const isRange = /^\[?[\d.:a-f]+\]?\/\d+$/i.test(before);
  if (isRange || !isHost(host)) throw new ConfigError([TEXTS.hostEntry]);
  if (host !== named) {
    const behind = digits === undefined ? '' : `:${digits}`;
    throw new ConfigError([TEXTS.writeName({ name: `${zone}${host}${behind}` })]);
  }
  return { host: `${zone}${host}`, ...port };
}

/** `undefined` for what is no address and no range of addresses. */
export function parseAddress(text: string): AddressEntry | undefined {
  const [, address = '', bits] = /^\[?([0-9a-f:.]+)\]?(?:\/(\d{1,3}))?$/i.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return undefined;
  const widest = version === 4 ? 32 : 128;
  const length = Number(bits ?? widest);
  if (length > widest) return undefined;
  return { address, family: version === 4 ? 'ipv4' : 'ipv6', bits: length };
}

/** The host of a URL as it is compared: without the brackets of IPv6, or the dot of a full name. */
export function hostOf({ hostname }: URL): string {
  return withoutDot(hostname.replace(/^\[|\]$/g, ''));
}

export function portOf({ port, protocol }: URL): number {
  return Number(port || PORTS[protocol]);
}

function withoutDot(name: string): string {
  return name.replace(/\.$/, '');
}

/** Where redirects may lead, and where tokens may come from. */
type ListKey = 'storage' | 'realms';

/** Hosts and addresses that the configuration names under a key. */
export class HostList {
  /** Where the configuration names them, for those who are told to. */
  readonly key: string;
  readonly #entries: readonly (HostEntry | (AddressEntry & { readonly range: BlockList }))[];

  constructor(key: string, entries: readonly string[]) {
    this.key = key;
    this.#entries = entries.map(parseHostEntry).map((entry) => {
      if ('host' in entry) return entry;
      const range = new BlockList();
      range.addSubnet(entry.address, entry.bits, entry.family);
      return { ...entry, range };
    });
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

  /** Whether the host of a URL is named: by its name, or by the address that it is. */
  hasHostOf(url: URL): boolean {
    return this.has(hostOf(url), portOf(url));
  }

  /** The same of a name or an address. */
  has(host: string, port: number): boolean {
    const name = withoutDot(host);
    const version = isIP(name);
    return this.#entries.some((entry) => {
      if (entry.port !== undefined && entry.port !== port) return false;
      if ('range' in entry)
        return version !== 0 && entry.range.check(name, version === 4 ? 'ipv4' : 'ipv6');
      const isZone = entry.host.startsWith('*.');
      return isZone ? name.endsWith(entry.host.slice(1)) : name === entry.host;
    });
  }
}
