import { getDomain } from 'tldts';
import type { Challenge } from './challenge.ts';
import { reachOf } from '../net/reach.ts';

/** Registries whose token service lives under another registrable domain. */
const KNOWN_REALM_HOSTS: Readonly<Record<string, string>> = {
  'dhi.io': 'auth.docker.io',
};

/**
 * Where a challenge says that tokens are to be had, or why that is not asked; `undefined` when it
 * names no URL.
 */
export function readRealm(
  { parameters: { realm } }: Challenge,
  registry: URL,
  options: { withCredentials: boolean },
): URL | string | undefined {
  const url = realm === undefined ? null : URL.parse(realm);
  return url ? (refuseRealm(url, registry, options) ?? url) : undefined;
}

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
  if (reachOf(realm.hostname) !== 'public') {
    return `token realm ${realm.host} is an internal address of another host`;
  }
  if (options.withCredentials && !isOwnRealm(realm.hostname, registry.hostname)) {
    return `token realm ${realm.host} does not belong to ${registry.host}: credentials are not sent there`;
  }
  return undefined;
}

function isOwnRealm(realmHost: string, registryHost: string): boolean {
  if (KNOWN_REALM_HOSTS[registryHost] === realmHost) return true;
  const domain = getDomain(registryHost, { allowPrivateDomains: true });
  return domain !== null && domain === getDomain(realmHost, { allowPrivateDomains: true });
}
