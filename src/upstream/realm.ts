import { getDomain } from 'tldts';
import type { HostList } from '../config/host-list.ts';
import type { Challenge } from './challenge.ts';
import { reachOf } from '../net/reach.ts';
import { TEXTS } from './texts.ts';

/** Registries whose token service lives under another registrable domain. */
const KNOWN_REALM_HOSTS: Readonly<Record<string, string>> = {
  'dhi.io': 'auth.docker.io',
};

export interface RealmOptions {
  readonly withCredentials: boolean;
  /** That the configuration names. */
  readonly realms: HostList;
}

/** The challenge's token realm, or why it may not be asked; `undefined` when it names no URL. */
export function readRealm(
  { parameters: { realm } }: Challenge,
  registry: URL,
  options: RealmOptions,
): URL | string | undefined {
  const url = realm === undefined ? null : URL.parse(realm);
  return url ? (refuseRealm(url, registry, options) ?? url) : undefined;
}

/**
 * Why a token realm may not be asked, or `undefined` when it may. The registry
 * chooses the realm: unchecked, it could send credentials to any host and requests into any network
 * (CVE-2020-15157, CVE-2026-33540).
 */
export function refuseRealm(
  realm: URL,
  registry: URL,
  { withCredentials, realms }: RealmOptions,
): string | undefined {
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') {
    return TEXTS.realmProtocol({ origin: realm.origin });
  }
  if (realm.username !== '' || realm.password !== '') return TEXTS.realmUser;
  if (realm.protocol === 'http:' && registry.protocol === 'https:') {
    return TEXTS.realmHttp({ origin: realm.origin });
  }
  if (realm.hostname === registry.hostname || realms.hasHost(realm.hostname)) return undefined;
  const { host } = realm;
  if (reachOf(realm.hostname) !== 'public') return TEXTS.realmInside({ host, key: realms.key });
  if (withCredentials && !isOwnRealm(realm.hostname, registry.hostname)) {
    return TEXTS.realmForeign({ host, registry: registry.host, key: realms.key });
  }
  return undefined;
}

function isOwnRealm(realmHost: string, registryHost: string): boolean {
  if (KNOWN_REALM_HOSTS[registryHost] === realmHost) return true;
  const domain = getDomain(registryHost, { allowPrivateDomains: true });
  return domain !== null && domain === getDomain(realmHost, { allowPrivateDomains: true });
}
