import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Client } from 'undici';
import type { Timing } from './timing.ts';
import { basicAuthorization } from './transport.ts';

/** A host and port to connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A connection as far as TLS, through the proxy's tunnel where there is one. */
export interface Connection extends AsyncDisposable {
  readonly socket: Duplex;
}

export interface ConnectionOptions {
  readonly timing: Timing;
  readonly signal: AbortSignal;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

export function endpointOf(url: URL): Endpoint {
  const port = url.port === '' ? (DEFAULT_PORTS[url.protocol] ?? 0) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export async function openConnection(
  url: URL,
  { timing, signal }: ConnectionOptions,
): Promise<Connection> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timing.connectMs)]);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket: Socket = connect({ ...endpointOf(url), signal: limit });
  // Stays: what breaks later shows to whoever reads.
  socket.on('error', reject);
  socket.once('connect', resolve);
  await promise;
  return { socket, [Symbol.asyncDispose]: async () => void socket.destroy() };
}

/** By CONNECT, as every request to an https host goes through a proxy; or the status of a refusal. */
export async function openTunnel(
  proxy: URL,
  target: Endpoint,
  { timing, signal }: ConnectionOptions,
): Promise<Connection | { readonly status: number }> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timing.headersMs)]);
  const client = new Client(proxy.origin, { connect: { timeout: timing.connectMs } });
  const path = formatEndpoint(target);
  try {
    const headers = { host: path, ...proxyLogin(proxy) };
    const { socket, statusCode } = await client.connect({ path, headers, signal: limit });
    socket.on('error', () => {});
    const close = async (): Promise<void> => {
      socket.destroy();
      await client.destroy();
    };
    if (statusCode === 200) return { socket, [Symbol.asyncDispose]: close };
    await close();
    return { status: statusCode };
  } catch (error) {
    await client.destroy();
    throw error;
  }
}

function proxyLogin({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const login = basicAuthorization(decodeURIComponent(username), decodeURIComponent(password));
  return { 'proxy-authorization': login };
}
