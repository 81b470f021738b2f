import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { UpstreamConfig } from '../config/config.ts';
import { HostList, hostOf, portOf } from '../config/host-list.ts';
import { addressClassOf, type AddressClass, type OwnListeners } from './address-class.ts';
import { TEXTS } from './texts.ts';

/** `registry`: the upstream's own origin. `storage`: where it redirects to. `realm`: where tokens are. */
export type OriginKind = 'registry' | 'storage' | 'realm';

export interface DialGuardParts {
  readonly config: Pick<UpstreamConfig, 'name' | 'url' | 'proxy' | 'storage' | 'realms'>;
  /** None in a command, which listens nowhere. */
  readonly ownListeners?: OwnListeners | undefined;
  /** How names become addresses; the system's way unless given. */
  readonly lookup?: LookupFunction | undefined;
}

interface Place {
  /** As it was named. */
  readonly host: string;
  /** Where that leads. */
  readonly address: string;
  readonly port: number;
}

/** A connection that was not made because of where it leads. The message may be shown to clients. */
export class RefusedDial extends Error {}

/**
 * Where the requests for one upstream may lead. Its own origin is what the operator wrote, and may be
 * anywhere. What that names, a redirect's target or a token service, is judged by its address when it
 * is dialled: a public one may be, one inside a network only where the configuration names it, or
 * writes the registry itself as an address or name of the same side (a private network, or this
 * machine), and a listener of this process never. What the registry's name becomes when it is resolved
 * opens nothing: whoever answers for that name could change it. Behind a proxy, which resolves names
 * itself, only literal addresses can be judged; storage of a registry that the configuration gives as
 * http and with a proxy of its own is on that proxy's network, where the registry itself is.
 */
export class DialGuard {
  readonly #registry: URL;
  readonly #parts: DialGuardParts;
  readonly #lists: Readonly<Record<'storage' | 'realm', HostList>>;
  /** Of the registry as the configuration writes it. */
  readonly #ownClass: AddressClass;
  readonly #isBehindProxy: boolean;

  constructor(parts: DialGuardParts) {
    this.#parts = parts;
    this.#lists = {
      storage: HostList.of(parts.config, 'storage'),
      realm: HostList.of(parts.config, 'realms'),
    };
    this.#registry = new URL(parts.config.url);
    const { protocol, hostname } = this.#registry;
    this.#ownClass = addressClassOf(hostname);
    this.#isBehindProxy = protocol === 'http:' && parts.config.proxy !== undefined;
  }

  /**
   * Whether a URL is the registry's own, which the login belongs to: its origin, or https of the same
   * host where the configuration says http.
   */
  isOwn({ origin, protocol, hostname }: URL): boolean {
    const own = this.#registry;
    const isUpgrade = own.protocol === 'http:' && protocol === 'https:';
    return origin === own.origin || (isUpgrade && hostname === own.hostname);
  }

  /** Whether the registry's own authorities count for a host that it names. */
  isTrusted(kind: 'storage' | 'realm', url: URL): boolean {
    return hostOf(url) === hostOf(this.#registry) || this.#lists[kind].hasHostOf(url);
  }

  /** What the configuration names of this kind. */
  namedAs(kind: 'storage' | 'realm'): HostList {
    return this.#lists[kind];
  }

  /**
   * Why a URL may not be asked whose host is an address, or a name that tells where it leads;
   * `undefined` when it may. `from`: who names it, when that is not the registry.
   */
  refusal(kind: OriginKind, url: URL, from?: URL): string | undefined {
    if (kind === 'registry') return undefined;
    const host = hostOf(url);
    const place = { host, address: host, port: portOf(url) };
    const near = from ? addressClassOf(from.hostname) : this.#ownClass;
    if (this.#mayDial(kind, place, near)) return undefined;
    const isThere =
      this.#isBehindProxy && kind === 'storage' && addressClassOf(host) === 'internal';
    if (isThere && !this.#isOwnListener(host, place.port)) return undefined;
    return this.#reason(kind, { ...place, host: url.host });
  }

  /** Resolves names for connections to this port, and leaves out what may not be dialled. */
  lookup(kind: OriginKind, port: number): LookupFunction {
    const { lookup = systemLookup } = this.#parts;
    return (host, options, callback) => {
      lookup(host, { ...options, all: true }, (error, found) => {
        if (error) return callback(error, []);
        const addresses = typeof found === 'string' ? [] : found;
        const allowed =
          kind === 'registry'
            ? addresses
            : addresses.filter(({ address }) => this.#mayDial(kind, { host, address, port }));
        const [first] = allowed;
        if (first && options.all) return callback(null, allowed);
        if (first) return callback(null, first.address, first.family);
        const { address = host } = addresses[0] ?? {};
        return callback(new RefusedDial(this.#reason(kind, { host, address, port })), []);
      });
    };
  }

  #mayDial(
    kind: 'storage' | 'realm',
    { host, address, port }: Place,
    near = this.#ownClass,
  ): boolean {
    if (this.#isOwnListener(address, port)) return false;
    const list = this.#lists[kind];
    if (list.has(host, port) || (isIP(address) !== 0 && list.has(address, port))) return true;
    const reach = addressClassOf(address);
    return reach === 'public' || (reach !== 'link-local' && reach === near);
  }

  #isOwnListener(address: string, port: number): boolean {
    return isIP(address) !== 0 && (this.#parts.ownListeners?.includes(address, port) ?? false);
  }

  #reason(kind: OriginKind, { host, address, port }: Place): string {
    const what = kind === 'realm' ? TEXTS.aRealm : TEXTS.aRedirect;
    if (this.#isOwnListener(address, port)) return TEXTS.toItself({ what, host });
    const { key } = kind === 'realm' ? this.#lists.realm : this.#lists.storage;
    const isLiteral = host.includes(address);
    return isLiteral
      ? TEXTS.toInside({ what, host, key })
      : TEXTS.resolvedInside({ what, host, address, key });
  }
}
