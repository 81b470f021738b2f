import { isRepository } from '../oci/reference.ts';
import { ConfigError } from './problems.ts';
import { findRegistry, hostMeant, isHost } from './registries.ts';
import { TEXTS } from './texts.ts';

/**
 * The place of an upstream; prefix or namespace pick the registry of a mirror of several
 * registries.
 */
export interface UpstreamUrl {
  /** The base of its endpoints, without a trailing slash and without `/v2`. */
  readonly url: string;
  /** In front of every repository's name there: `/v2/<prefix>/…` of a mirror in the path form. */
  readonly prefix?: string;
  /** Sent as `ns` with every request, to a mirror that looks upstreams up by it. */
  readonly namespace?: string;
}

/**
 * Throws a `ConfigError` that says what to write and repeats nothing of the URL, which may hold a
 * password.
 */
export function parseUpstreamUrl(text: string): UpstreamUrl {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) throw new ConfigError([schemeAdvice(text)]);
  if (url.username !== '' || url.password !== '') throw new ConfigError([TEXTS.urlWithPassword]);
  checkWellKnown(url);
  const namespace = parseQuery(url, text);
  const path = url.pathname.replace(/\/+$/, '');
  if (path.endsWith('/v2')) throw new ConfigError([TEXTS.urlWithV2]);
  if (path.endsWith('/v1')) {
    throw new ConfigError([TEXTS.writeName({ name: url.origin + path.slice(0, -3) })]);
  }
  const [, base = path, prefix] = /^(.*?)\/v2\/(.*)$/.exec(path) ?? [];
  if (prefix !== undefined) {
    checkPrefix(prefix);
    if (namespace !== undefined) throw new ConfigError([TEXTS.urlPrefixAndNamespace]);
  }
  return {
    url: url.origin + base,
    ...(prefix !== undefined && { prefix }),
    ...(namespace !== undefined && { namespace }),
  };
}

/** The inverse of `parseUpstreamUrl`. */
export function formatUpstreamUrl({ url, prefix, namespace }: UpstreamUrl): string {
  if (prefix !== undefined) return `${url}/v2/${prefix}`;
  return namespace === undefined ? url : `${url}/?ns=${namespace}`;
}

/** A host without a scheme is told both. Nothing is repeated that may have a password in it. */
function schemeAdvice(text: string): string {
  const host = hostMeant(text);
  if (text.includes('@') || !isRegistryHost(host)) return TEXTS.url;
  const url = findRegistry(host)?.url;
  return url === undefined ? TEXTS.urlScheme({ host }) : TEXTS.writeName({ name: url });
}

function isRegistryHost(host: string): boolean {
  return (
    isHost(host) && (/[.:]/.test(host) || host === 'localhost' || findRegistry(host) !== undefined)
  );
}

/** Web pages of a well-known registry, and a path that it has only there, are not where it answers. */
function checkWellKnown(url: URL): void {
  const registry = findRegistry(url.hostname);
  // A machine of one's own may be called `quay`.
  if (!registry || !url.hostname.includes('.') || url.port !== '') return;
  const isPath = !/^\/*(?:v2(?:\/.*)?)?$/.test(url.pathname);
  if (new URL(registry.url).hostname === url.hostname && !isPath) return;
  throw new ConfigError([TEXTS.urlOfRegistry(registry)]);
}

/** The registry that `?ns=` names. Throws for any other query. */
function parseQuery({ searchParams }: URL, text: string): string | undefined {
  if (!text.includes('?') && !text.includes('#')) return undefined;
  const [[key, value] = ['', ''], ...others] = searchParams;
  if (key !== 'ns' || others.length > 0 || text.includes('#')) {
    throw new ConfigError([TEXTS.urlWithQuery]);
  }
  if (isHost(value)) return value;
  throw new ConfigError([TEXTS.urlNamespace]);
}

function checkPrefix(prefix: string): void {
  if (isRepository(prefix)) return;
  throw new ConfigError([TEXTS.urlPrefix]);
}
