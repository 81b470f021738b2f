import type { UpstreamConfig } from '../../config/config.ts';
import type { Reference, Repository } from '../../oci/reference.ts';

/** An image of an upstream to look for. */
export interface WantedImage {
  readonly repository: Repository;
  readonly reference: Reference;
}

/** A host and port to connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

export function endpointOf(url: URL): Endpoint {
  const port = url.port === '' ? (DEFAULT_PORTS[url.protocol] ?? 0) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where the first connection goes: to the proxy when there is one. */
export function firstHop({ url, proxy }: Pick<UpstreamConfig, 'url' | 'proxy'>): URL {
  return new URL(proxy ?? url);
}

/** A key of the configuration, as the operator finds it in the file. */
export function keyOf({ name }: Pick<UpstreamConfig, 'name'>, key: string): string {
  return `upstreams.${name}.${key}`;
}
