import type { ConnectionOptions } from 'node:tls';
import { LRUCache } from 'lru-cache';
import { Agent, buildConnector, ProxyAgent, type Dispatcher } from 'undici';
import type { UpstreamConfig } from '../config/config.ts';
import type { DialGuard, OriginKind } from './dial-guard.ts';
import type { Timing } from './timing.ts';

export type TlsOptions = Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>;

type Connector = buildConnector.connector;

/** The timers of `Transport` are exact and cover what retries need; undici's own are switched off. */
const OPTIONS = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
/** Almost all have 443. */
const MAX_PORTS = 16;

/**
 * The pools of connections for one upstream, by the kind of origin: the client certificate and
 * `insecure` are for the registry's own origin only. Its authorities also count for its host on other
 * ports, and for hosts that the configuration names; all others need a public certificate.
 */
export class Agents {
  readonly #config: Pick<UpstreamConfig, 'url' | 'tls' | 'proxy'>;
  readonly #guard: DialGuard;
  readonly #timing: Timing;
  readonly #agents = new Map<string, Dispatcher>();

  constructor(
    config: Pick<UpstreamConfig, 'url' | 'tls' | 'proxy'>,
    guard: DialGuard,
    timing: Timing,
  ) {
    this.#config = config;
    this.#guard = guard;
    this.#timing = timing;
  }

  of(kind: OriginKind, url: URL): Dispatcher {
    const isTrusted = kind === 'registry' || this.#isOurs(kind, url.hostname);
    const key = `${kind} ${isTrusted}`;
    const known = this.#agents.get(key);
    if (known) return known;
    const agent = this.#create(kind, isTrusted);
    this.#agents.set(key, agent);
    return agent;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map(async (agent) => agent.destroy()));
  }

  #isOurs(kind: 'storage' | 'realm', hostname: string): boolean {
    const own = new URL(this.#config.url).hostname;
    return hostname === own || this.#guard.namedAs(kind).hasHost(hostname);
  }

  #create(kind: OriginKind, isTrusted: boolean): Dispatcher {
    const { proxy, tls } = this.#config;
    const { ca } = tls;
    const options =
      kind === 'registry'
        ? { ...tlsOptionsOf(this.#config), rejectUnauthorized: !tls.insecure }
        : isTrusted && ca !== undefined
          ? { ca }
          : {};
    const timeout = this.#timing.connectMs;
    if (proxy !== undefined) {
      const requestTls = { ...options, timeout };
      return new ProxyAgent({ ...OPTIONS, uri: proxy, proxyTls: { timeout }, requestTls });
    }
    return new Agent({ ...OPTIONS, connect: this.#connector(kind, options) });
  }

  /** One connector a port, since the address is judged together with it. */
  #connector(kind: OriginKind, tls: buildConnector.BuildOptions): Connector {
    const byPort = new LRUCache<number, Connector>({ max: MAX_PORTS });
    const timeout = this.#timing.connectMs;
    const create = (port: number): Connector => {
      const lookup = this.#guard.lookup(kind, port);
      const connector = buildConnector({ ...tls, allowH2: false, timeout, lookup });
      byPort.set(port, connector);
      return connector;
    };
    return (options, callback) => {
      const port = Number(options.port || (options.protocol === 'https:' ? 443 : 80));
      return (byPort.get(port) ?? create(port))(options, callback);
    };
  }
}

/** Whom a TLS connection trusts, and as whom it is made. */
export function tlsOptionsOf({ tls: { ca, cert, key } }: Pick<UpstreamConfig, 'tls'>): TlsOptions {
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
}
