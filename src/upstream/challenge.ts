import { getDomain } from 'tldts';
import type { HostList } from '../config/host-list.ts';
import { addressClassOf } from '../net/address-class.ts';
import { TEXTS } from './texts.ts';

/** One challenge of a `WWW-Authenticate` header; names in lower case. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const SEPARATOR = /[ \t]*(?:,[ \t]*)*/y;
const EQUALS = /[ \t]*=[ \t]*/y;

/**
 * Reads the challenges of one or several header lines. Values may be bare or quoted, a quoted
 * scope may hold commas and spaces, and parts that are no challenge are passed over.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const lines = header === undefined ? [] : typeof header === 'string' ? [header] : header;
  return lines.flatMap(parseLine);
}

/** The one that can be answered best; others, such as Negotiate, cannot. */
export function chooseChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  return (
    challenges.find(({ scheme }) => scheme === 'bearer') ??
    challenges.find(({ scheme }) => scheme === 'basic')
  );
}

function parseLine(line: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let position = 0;
  const take = (expression: RegExp): string | undefined => {
    expression.lastIndex = position;
    const match = expression.exec(line);
    if (!match) return undefined;
    position = expression.lastIndex;
    return match[1] ?? match[0];
  };
  while (position < line.length) {
    take(SEPARATOR);
    const word = take(TOKEN);
    if (word === undefined) {
      position += 1;
      continue;
    }
    if (take(EQUALS) === undefined) {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) });
      continue;
    }
    const quoted = take(QUOTED);
    const value = quoted === undefined ? take(TOKEN_VALUE) : quoted.replaceAll(/\\(.)/g, '$1');
    const parameters = challenges.at(-1)?.parameters;
    if (parameters && value !== undefined) parameters[word.toLowerCase()] ??= value;
  }
  return challenges;
}

/** Bare values in the field hold slashes and colons (`realm=https://…`), which tokens may not. */
const TOKEN_VALUE = /[^\s,"]+/y;

/** Registries whose token service lives under another registrable domain. */
const KNOWN_REALM_HOSTS: Readonly<Record<string, string>> = {
  'dhi.io': 'auth.docker.io',
};

export interface RealmOptions {
  readonly withCredentials: boolean;
  /** Hosts of token services that the configuration names. */
  readonly realms: HostList;
  /** What redirects to the registry, and may be its token service. */
  readonly gateway?: URL | undefined;
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
  { withCredentials, realms, gateway }: RealmOptions,
): string | undefined {
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') {
    return TEXTS.realmProtocol({ origin: realm.origin });
  }
  if (realm.username !== '' || realm.password !== '') return TEXTS.realmUser;
  if (realm.protocol === 'http:' && registry.protocol === 'https:') {
    return TEXTS.realmHttp({ origin: realm.origin });
  }
  const isOwnHost = realm.hostname === registry.hostname || realm.hostname === gateway?.hostname;
  if (isOwnHost || realms.hasHostOf(realm)) return undefined;
  const { host } = realm;
  if (addressClassOf(realm.hostname) !== 'public')
    return TEXTS.realmInside({ host, key: realms.key });
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
