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
} from '../../net/connection.ts';
import { failed, keyOf, ok, type Outcome } from './finding.ts';

export interface ConnectionCheck {
  readonly outcome: Outcome;
  readonly connection?: Connection;
}

/** Whether the name to connect to has addresses, asked the way a connection asks. */
export async function checkName(config: UpstreamConfig): Promise<Outcome> {
  const { host } = endpointOf(firstHop(config));
  const isProxied = config.proxy !== undefined;
  const subject = isProxied ? `the proxy ${host}` : host;
  if (isIP(host) !== 0) return ok(`${subject} is an address`);
  try {
    const found = await lookup(host, { all: true });
    const addresses = [...new Set(found.map(({ address }) => address))];
    return ok(`${subject} is ${addresses.join(', ')}`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown fault';
    const key = isProxied ? `${keyOf(config, 'proxy')} (or HTTPS_PROXY)` : keyOf(config, 'url');
    return failed(
      `${subject} has no address (${code})`,
      `check the spelling in ${key} and the DNS servers of this machine; ask them with: getent hosts ${host}`,
    );
  }
}

/** Whether the upstream, or the proxy in front of it, can be connected to. */
export async function checkConnection(
  config: UpstreamConfig,
  options: ConnectionOptions,
): Promise<ConnectionCheck> {
  const started = performance.now();
  const hop = firstHop(config);
  const address = formatEndpoint(endpointOf(hop));
  let connection: Connection;
  try {
    connection = await openConnection(hop, options);
  } catch (error) {
    return { outcome: explain(error, config) };
  }
  const passedMs = (): string => `${Math.round(performance.now() - started)} ms`;
  if (config.proxy === undefined) {
    return { outcome: ok(`${address} in ${passedMs()}`), connection };
  }
  await connection[Symbol.asyncDispose]();
  if (!config.url.startsWith('https:')) {
    return { outcome: ok(`the proxy ${address} in ${passedMs()}`) };
  }
  return checkTunnel(config, options, passedMs);
}

async function checkTunnel(
  config: UpstreamConfig,
  options: ConnectionOptions,
  passedMs: () => string,
): Promise<ConnectionCheck> {
  const endpoint = endpointOf(new URL(config.url));
  const target = formatEndpoint(endpoint);
  const proxy = firstHop(config);
  const address = formatEndpoint(endpointOf(proxy));
  try {
    const connection = await openTunnel(proxy, endpoint, options);
    if ('status' in connection) {
      return { outcome: explainRefusal(connection.status, { address, target }) };
    }
    const outcome = ok(`the proxy ${address} connects to ${target} in ${passedMs()}`);
    return { outcome, connection };
  } catch (error) {
    return {
      outcome: failed(
        `the proxy ${address} gave no tunnel to ${target} (${codeOf(error)})`,
        `check that ${keyOf(config, 'proxy')} (or HTTPS_PROXY) is an http proxy that allows CONNECT to ${target}`,
      ),
    };
  }
}

/** Where the first connection goes: to the proxy when there is one. */
function firstHop({ url, proxy }: Pick<UpstreamConfig, 'url' | 'proxy'>): URL {
  return new URL(proxy ?? url);
}

function explainRefusal(status: number, where: { address: string; target: string }): Outcome {
  const detail = `the proxy ${where.address} refused CONNECT ${where.target} (${status})`;
  return status === 407
    ? failed(detail, 'set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT with a login of the proxy')
    : failed(detail, `allow CONNECT to ${where.target} in the proxy`);
}

function explain(error: unknown, config: UpstreamConfig): Outcome {
  const { host, port } = endpointOf(firstHop(config));
  const address = formatEndpoint({ host, port });
  const isProxied = config.proxy !== undefined;
  const subject = isProxied ? `the proxy ${address}` : address;
  const key = isProxied ? `${keyOf(config, 'proxy')} (or HTTPS_PROXY)` : keyOf(config, 'url');
  const code = codeOf(error);
  if (code === 'ECONNREFUSED') {
    return failed(
      `${subject} refuses the connection (${code})`,
      `check the port in ${key}, that the server runs, and that no firewall rejects port ${port} to ${host}`,
    );
  }
  const wayOut = isProxied ? '' : ', or set a proxy';
  return failed(
    `no connection to ${subject} (${code})`,
    `open port ${port} (TCP, outgoing) to ${host} in the firewall, check the route${wayOut}`,
  );
}

/** Short and without addresses of its own: `ECONNREFUSED`, `timeout`. */
function codeOf(error: unknown): string {
  const { code, name, cause } = error as NodeJS.ErrnoException;
  if (name === 'AbortError' || name === 'TimeoutError' || code === 'ABORT_ERR') return 'timeout';
  if (code === undefined && cause instanceof Error) return codeOf(cause);
  return code ?? name;
}
