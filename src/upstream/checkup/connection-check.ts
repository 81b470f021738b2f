import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Client } from 'undici';
import type { UpstreamConfig } from '../../config/config.ts';
import type { Timing } from '../../net/timing.ts';
import { failed, ok, type Outcome } from './finding.ts';
import { endpointOf, firstHop, formatEndpoint, keyOf } from './subject.ts';

/** A connection as far as TLS, through the proxy's tunnel where there is one. */
export interface Connection extends AsyncDisposable {
  readonly socket: Duplex;
}

export interface ConnectionOptions {
  readonly timing: Timing;
  readonly signal: AbortSignal;
}

/** Whether the upstream, or the proxy in front of it, can be connected to. */
export async function checkConnection(
  config: UpstreamConfig,
  options: ConnectionOptions,
): Promise<{ outcome: Outcome; connection?: Connection }> {
  const started = performance.now();
  const hop = firstHop(config);
  const address = formatEndpoint(endpointOf(hop));
  let socket: Socket;
  try {
    socket = await dial(hop, options);
  } catch (error) {
    return { outcome: explain(error, config) };
  }
  const passedMs = (): string => `${Math.round(performance.now() - started)} ms`;
  if (config.proxy === undefined) {
    return { outcome: ok(`${address} in ${passedMs()}`), connection: open(socket) };
  }
  socket.destroy();
  if (!config.url.startsWith('https:')) {
    return { outcome: ok(`the proxy ${address} in ${passedMs()}`) };
  }
  return tunnel(config, options, passedMs);
}

async function dial(url: URL, { timing, signal }: ConnectionOptions): Promise<Socket> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timing.connectMs)]);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ ...endpointOf(url), signal: limit });
  // Stays: what breaks later shows to whoever reads.
  socket.on('error', reject);
  socket.once('connect', resolve);
  await promise;
  return socket;
}

/** By CONNECT, as every request to an https upstream goes through a proxy. */
async function tunnel(
  config: UpstreamConfig,
  { timing, signal }: ConnectionOptions,
  passedMs: () => string,
): Promise<{ outcome: Outcome; connection?: Connection }> {
  const proxy = new URL(config.proxy ?? '');
  const target = formatEndpoint(endpointOf(new URL(config.url)));
  const address = formatEndpoint(endpointOf(proxy));
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timing.headersMs)]);
  const client = new Client(proxy.origin, { connect: { timeout: timing.connectMs } });
  try {
    const headers = { host: target, ...proxyLogin(proxy) };
    const { socket, statusCode } = await client.connect({ path: target, headers, signal: limit });
    socket.on('error', () => {});
    if (statusCode === 200) {
      const outcome = ok(`the proxy ${address} connects to ${target} in ${passedMs()}`);
      return { outcome, connection: open(socket, client) };
    }
    socket.destroy();
    await client.destroy();
    return { outcome: explainRefusal(statusCode, { address, target }) };
  } catch (error) {
    await client.destroy();
    const code = codeOf(error);
    return {
      outcome: failed(
        `the proxy ${address} gave no tunnel to ${target} (${code})`,
        `check that ${keyOf(config, 'proxy')} (or HTTPS_PROXY) is an http proxy that allows CONNECT to ${target}`,
      ),
    };
  }
}

function proxyLogin({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` };
}

function open(socket: Duplex, client?: Client): Connection {
  return {
    socket,
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await client?.destroy();
    },
  };
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
