import { LRUCache } from 'lru-cache';
import { Agent, buildConnector, ProxyAgent, type Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/config.ts';
import { proxyOf } from '../config/proxy.ts';
import type { DialGuard, OriginKind } from './dial-guard.ts';
import { SOCKET_READING } from './socket-reading.ts';
import type { Timing } from './timing.ts';
import type { SecureContexts, Trust } from './authorities.ts';

type Connector = buildConnector.connector;
type Config = Pick<UpstreamConfig, 'url' | 'tls' | 'proxy' | 'environment'>;

interface AgentsParts {
  readonly config: Config;
  readonly guard: DialGuard;
  readonly timing: Timing;
  readonly trust: Trust;
}

/** The timers of `Transport` are exact and cover what retries need; undici's own are switched off. */
const OPTIONS = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
/** Almost all have 443. */
const MAX_PORTS = 16;
/**
 * How long one address of a host is tried before the next one is, if there is one: Node's half a
 * second is less than what a satellite takes for an answer, and such a link would reach no host that
 * has addresses of both families. All of them together have `connectMs`.
 */
const NEXT_ADDRESS_MS = 1_500;

/** Who is dialled: its kind, whether our authorities count there, by TLS or not, and through what. */
interface Way {
  readonly kind: OriginKind;
  readonly isTrusted: boolean;
  readonly isSecure: boolean;
  readonly proxy: string | undefined;
}

/**
 * The pools of connections for one upstream, by the way to a host: the proxy is chosen for each host,
 * the client certificate and `insecure` are for the registry's own origin only. Its authorities also
 * count for its host on other ports, and for hosts that the configuration names; all others need a
 * certificate of a public authority or of the system's. When a file of them says something else, the
 * next request of TLS has connections of its own; those of before end with the answers that run, idle
 * ones at once, so that there are never more of them than running requests.
 */
export class Agents {
  readonly #config: Config;
  readonly #guard: DialGuard;
  readonly #timing: Timing;
  readonly #trust: Trust;
  readonly #agents = new Map<string, Dispatcher>();
  readonly #leaving = new Set<Dispatcher>();
  #isLeft = false;
  #isShut = false;
  #contexts: SecureContexts | undefined;

  constructor({ config, guard, timing, trust }: AgentsParts) {
    this.#config = config;
    this.#guard = guard;
    this.#timing = timing;
    this.#trust = trust;
  }

  of(kind: OriginKind, url: URL): Dispatcher {
    const isTrusted = kind === 'registry' || this.#guard.isTrusted(kind, url);
    const isSecure = url.protocol === 'https:';
    const way = { kind, isTrusted, isSecure, proxy: proxyOf(this.#config, url) };
    if (isSecure || isSecureProxy(way.proxy)) this.#look();
    const key = JSON.stringify(way);
    const known = this.#agents.get(key);
    if (known) return known;
    const agent = this.#create(way);
    this.#agents.set(key, agent);
    return agent;
  }

  /**
   * What runs ends on the connections that it has, idle ones close at once, and a new one is for one
   * request; when it is shut there is no new one.
   */
  leave({ isShut }: { readonly isShut: boolean }): void {
    this.#isLeft = true;
    this.#isShut ||= isShut;
    this.#leaveAll();
  }

  async close(): Promise<void> {
    const all = [...this.#agents.values(), ...this.#leaving];
    await Promise.all(all.map(async (agent) => agent.destroy()));
  }

  #look(): void {
    const { contexts } = this.#trust;
    if (contexts === this.#contexts) return;
    this.#contexts = contexts;
    this.#leaveAll();
  }

  #leaveAll(): void {
    const former = [...this.#agents.values()];
    this.#agents.clear();
    for (const agent of former) void this.#leave(agent);
  }

  async #leave(agent: Dispatcher): Promise<void> {
    this.#leaving.add(agent);
    // What destroys it meanwhile has ended it as well.
    await agent.close().catch(() => undefined);
    this.#leaving.delete(agent);
  }

  #create({ kind, isTrusted, isSecure, proxy }: Way): Dispatcher {
    const { tls } = this.#config;
    const timeout = this.#timing.connectMs;
    const whose = kind === 'registry' ? kind : isTrusted ? 'ours' : 'others';
    const common = { ...OPTIONS, ...(this.#isLeft && { pipelining: 0 }) };
    const options = {
      timeout,
      ...(isSecure && { secureContext: this.#trust.contexts.of(whose) }),
      ...(kind === 'registry' && { rejectUnauthorized: !tls.insecure }),
    };
    if (proxy === undefined)
      return new Agent({ ...common, connect: this.#connector(kind, isSecure, options) });
    const secureContext = isSecureProxy(proxy) && {
      secureContext: this.#trust.contexts.of('others'),
    };
    const proxyTls = { timeout, ...secureContext };
    return new ProxyAgent({ ...common, uri: proxy, proxyTls, requestTls: options });
  }

  /** One connector a port, since the address is judged together with it. */
  #connector(kind: OriginKind, isSecure: boolean, tls: buildConnector.BuildOptions): Connector {
    const byPort = new LRUCache<number, Connector>({ max: MAX_PORTS });
    const create = (port: number): Connector => {
      const connector = buildConnector({
        ...tls,
        allowH2: false,
        lookup: this.#guard.lookup(kind, port),
        autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
        ...(!isSecure && { onread: SOCKET_READING }),
      });
      byPort.set(port, connector);
      return connector;
    };
    return (options, callback) => {
      // A request that lost its connection asks for another one.
      if (this.#isShut) return callback(new Error('no connection is opened any more'), null);
      const port = Number(options.port || (options.protocol === 'https:' ? 443 : 80));
      // The dot at the end of a name is for DNS, and no part of the name that a certificate has.
      const { hostname } = options;
      const named = hostname.endsWith('.')
        ? { ...options, servername: hostname.slice(0, -1) }
        : options;
      return (byPort.get(port) ?? create(port))(named, callback);
    };
  }
}

function isSecureProxy(proxy: string | undefined): boolean {
  return proxy?.startsWith('https:') ?? false;
}
