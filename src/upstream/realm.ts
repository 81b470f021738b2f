import { isIP } from 'node:net';
import { getDomain } from 'tldts';

/** Registries whose token service lives under another registrable domain. */
const KNOWN_REALM_HOSTS: Readonly<Record<string, string>> = {
  'dhi.io': 'auth.docker.io',
};

/**
 * Why a token realm may not be asked, or `undefined` when it may. A realm is a word of the other
 * side: followed blindly it would carry credentials to any host and requests into any network
 * (CVE-2020-15157, CVE-2026-33540).
 */
export function refuseRealm(
  realm: URL,
  registry: URL,
  options: { withCredentials: boolean },
): string | undefined {
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') {
    return `token realm ${realm.origin} is not http or https`;
  }
  if (realm.username !== '' || realm.password !== '') return 'token realm carries user information';
  if (realm.protocol === 'http:' && registry.protocol === 'https:') {
    return `token realm ${realm.origin} is http although the registry is https`;
  }
  if (realm.hostname === registry.hostname) return undefined;
  if (isInternalHost(realm.hostname)) {
    return `token realm ${realm.host} is an internal address of another host`;
  }
  if (options.withCredentials && !isOwnRealm(realm.hostname, registry.hostname)) {
    return `token realm ${realm.host} does not belong to ${registry.host}: credentials are not sent there`;
  }
  return undefined;
}

/** Loopback, private, link-local and the like, by their literal form only. */
export function isInternalHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  if (isIP(host) === 4) return isInternalIPv4(host);
  if (isIP(host) === 6) return isInternalIPv6(host);
  return false;
}

function isInternalIPv4(host: string): boolean {
  const [a = 0, b = 0] = host.split('.').map(Number);
  return (
    a === 0 ||
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168)
  );
}

function isInternalIPv6(host: string): boolean {
  // URL parsing writes an embedded IPv4 address in hexadecimal: any of them is refused.
  return /^(?:::|f[cd]|fe[89ab])/.test(host);
}

function isOwnRealm(realmHost: string, registryHost: string): boolean {
  if (KNOWN_REALM_HOSTS[registryHost] === realmHost) return true;
  const domain = getDomain(registryHost, { allowPrivateDomains: true });
  return domain !== null && domain === getDomain(realmHost, { allowPrivateDomains: true });
}
