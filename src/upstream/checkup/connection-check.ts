import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { UpstreamConfig } from '../../config/config.ts';
import {
  endpointOf,
  formatEndpoint,
  openConnection,
  openTunnel,
  type Connection,
  type ConnectionOptions,
  type Endpoint,
} from '../../net/connection.ts';
import { proxyOf } from '../../config/proxy.ts';
import { failed, keyOf, ok, type Outcome } from './finding.ts';
import { TEXTS } from '../texts.ts';

export interface ConnectionCheck {
  readonly outcome: Outcome;
  readonly connection?: Connection;
}

/** Where the first connection goes: to the proxy when there is one. */
interface FirstHop {
  readonly url: URL;
  readonly endpoint: Endpoint;
  readonly address: string;
  /** As findings name a place there. */
  readonly name: (place: string) => string;
  /** The key of the configuration that leads there. */
  readonly key: string;
}

function firstHop(config: UpstreamConfig): FirstHop {
  const proxy = registryProxy(config);
  const url = new URL(proxy ?? config.url);
  const endpoint = endpointOf(url);
  const hop = { url, endpoint, address: formatEndpoint(endpoint) };
  if (proxy === undefined) return { ...hop, name: (place) => place, key: keyOf(config, 'url') };
  const key = TEXTS.proxyKey({ key: keyOf(config, 'proxy') });
  return { ...hop, name: (place) => TEXTS.proxied({ address: place }), key };
}

function registryProxy(config: UpstreamConfig): string | undefined {
  return proxyOf(config, new URL(config.url));
}

/** Whether the name to connect to has addresses, asked the way a connection asks. */
export async function checkName(config: UpstreamConfig): Promise<Outcome> {
  const { endpoint, name, key } = firstHop(config);
  const { host } = endpoint;
  const subject = name(host);
  if (isIP(host) !== 0) return ok(TEXTS.isAddress({ subject }));
  try {
    const found = await lookup(host, { all: true });
    const addresses = [...new Set(found.map(({ address }) => address))];
    return ok(TEXTS.hasAddresses({ subject, addresses: addresses.join(', ') }));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? TEXTS.unknownCause;
    return failed(TEXTS.noAddress({ subject, code }), TEXTS.checkName({ key, host }));
  }
}

/** Whether the upstream, or the proxy in front of it, can be connected to. */
export async function checkConnection(
  config: UpstreamConfig,
  options: ConnectionOptions,
): Promise<ConnectionCheck> {
  const started = performance.now();
  const passedMs = (): number => Math.round(performance.now() - started);
  const hop = firstHop(config);
  let connection: Connection;
  try {
    connection = await openConnection(hop.url, options);
  } catch (error) {
    return { outcome: explain(error, hop, config) };
  }
  const isSecure = config.url.startsWith('https:');
  if (registryProxy(config) !== undefined) await connection[Symbol.asyncDispose]();
  if (registryProxy(config) !== undefined && isSecure)
    return checkTunnel(config, hop, options, passedMs);
  const outcome = ok(TEXTS.connected({ address: hop.name(hop.address), ms: passedMs() }));
  return registryProxy(config) === undefined ? { outcome, connection } : { outcome };
}

async function checkTunnel(
  config: UpstreamConfig,
  { url, address, key }: FirstHop,
  options: ConnectionOptions,
  passedMs: () => number,
): Promise<ConnectionCheck> {
  const endpoint = endpointOf(new URL(config.url));
  const target = formatEndpoint(endpoint);
  try {
    const connection = await openTunnel(url, endpoint, options);
    if ('status' in connection) {
      const { status } = connection;
      const remedy = status === 407 ? TEXTS.setProxyLogin : TEXTS.allowConnect({ target });
      return { outcome: failed(TEXTS.tunnelRefused({ address, target, status }), remedy) };
    }
    return { outcome: ok(TEXTS.proxyConnects({ address, target, ms: passedMs() })), connection };
  } catch (error) {
    const detail = TEXTS.noTunnel({ address, target, code: codeOf(error) });
    return { outcome: failed(detail, TEXTS.checkProxy({ key, target })) };
  }
}

function explain(
  error: unknown,
  { endpoint: { host, port }, address, name, key }: FirstHop,
  config: UpstreamConfig,
): Outcome {
  const [code, subject] = [codeOf(error), name(address)];
  if (code === 'ECONNREFUSED') {
    return failed(TEXTS.connectionRefused({ subject, code }), TEXTS.checkPort({ key, port, host }));
  }
  const more = registryProxy(config) === undefined ? TEXTS.orSetProxy : '';
  return failed(TEXTS.noConnection({ subject, code }), TEXTS.openPort({ port, host, more }));
}

/** Short and without addresses of its own: `ECONNREFUSED`, `timeout`. */
function codeOf(error: unknown): string {
  const { code, name, cause } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError' || code === 'ABORT_ERR') return 'timeout';
  if (code === undefined && cause instanceof Error) return codeOf(cause);
  return code ?? name;
}
