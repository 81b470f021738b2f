import { BlockList, isIP } from 'node:net';
import { hostOf, portOf } from './host-list.ts';
import { ConfigError } from './problems.ts';
import type { Environment } from './source.ts';
import { TEXTS } from './texts.ts';

const VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'] as const;

/** What proxies are chosen by: the upstream's own key, and the variables of the environment. */
export interface ProxySettings {
  readonly url: string;
  readonly proxy?: string;
  readonly environment?: Environment;
}

/** The variables that choose a proxy; `undefined` when none is set. */
export function proxyVariables(env: Environment): Environment | undefined {
  const names = VARIABLES.flatMap((name) => [name, name.toLowerCase()]).filter((name) => env[name]);
  if (names.length === 0) return undefined;
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}

/**
 * The proxy on the way to one host of an upstream, be it the registry, its token service or its
 * storage. The key `proxy` counts for all of them but those that `NO_PROXY` names, and for the
 * registry in any case. Throws as `findProxy` does.
 */
export function proxyOf(settings: ProxySettings, url: URL): string | undefined {
  const { proxy, environment = {} } = settings;
  if (proxy === undefined) return findProxy(url.href, environment);
  const isOwn = url.origin === new URL(settings.url).origin;
  return !isOwn && isExempt(url, variable(environment, 'NO_PROXY') ?? '') ? undefined : proxy;
}

/**
 * The proxy that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name for a URL, as curl reads
 * them; loopback is never proxied. Throws a `ConfigError` when the variable holds no proxy's URL.
 */
export function findProxy(target: string, env: Environment): string | undefined {
  const url = new URL(target);
  const own = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const name = variable(env, own) === undefined ? 'ALL_PROXY' : own;
  const text = variable(env, name);
  if (text === undefined || isLoopback(url) || isExempt(url, variable(env, 'NO_PROXY') ?? '')) {
    return undefined;
  }
  const proxy = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (!isProxyUrl(proxy)) throw new ConfigError([TEXTS.proxyVariable({ name })]);
  return proxy.href.replace(/\/$/, '');
}

/**
 * The proxy of the file. Throws a `ConfigError` that says what to write and repeats nothing of the
 * URL, which may hold a password.
 */
export function parseProxyUrl(text: string): string {
  const proxy = URL.parse(text);
  if (!isProxyUrl(proxy)) throw new ConfigError([TEXTS.proxy]);
  if (proxy.username !== '' || proxy.password !== '') {
    throw new ConfigError([TEXTS.proxyWithPassword]);
  }
  return proxy.origin;
}

function isProxyUrl(url: URL | null): url is URL {
  return url !== null && /^https?:$/.test(url.protocol) && /^\/?$/.test(url.pathname + url.search);
}

function variable(env: Environment, name: string): string | undefined {
  return env[name.toLowerCase()] || env[name] || undefined;
}

/** Whether a URL leads to this machine. */
export function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  return host.endsWith('.localhost') || isLoopbackHost(host);
}

/** An address of this machine that no other one reaches, or its usual name. */
export function isLoopbackHost(host: string): boolean {
  return (
    host.toLowerCase() === 'localhost' ||
    matchesAddress(host, '127.0.0.0/8') ||
    matchesAddress(host, '::1')
  );
}

function isExempt(url: URL, list: string): boolean {
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matches(entry, url));
}

function matches(entry: string, url: URL): boolean {
  if (entry === '*') return true;
  const host = hostOf(url);
  if (isIP(host) !== 0 && matchesAddress(host, entry)) return true;
  const [, name = entry, port] = /^([^:]+|\[.+\]):(\d+)$/.exec(entry) ?? [];
  if (port !== undefined && Number(port) !== portOf(url)) return false;
  if (isIP(host) !== 0 && matchesAddress(host, name.replace(/^\[(.*)\]$/, '$1'))) return true;
  const suffix = name.replace(/^\*?\./, '').replace(/\.$/, '');
  return host === suffix || (isIP(host) === 0 && host.endsWith(`.${suffix}`));
}

/** Whether an address is an entry like `10.0.0.0/8`, or exactly the address of the entry. */
function matchesAddress(host: string, entry: string): boolean {
  const [address = '', prefix] = entry.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const bits = prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix);
  if (isIP(address) === 0 || isIP(host) !== isIP(address)) return false;
  if (!Number.isInteger(bits) || bits < 0 || bits > (family === 'ipv6' ? 128 : 32)) return false;
  const block = new BlockList();
  block.addSubnet(address, bits, family);
  return block.check(host, family);
}
