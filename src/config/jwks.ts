import { createHash, createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

/** A public key by which an issuer signs. */
export interface IssuerKey {
  readonly key: KeyObject;
  /** Of the key alone, whatever its `kid` is. */
  readonly mark: string;
  /** The algorithms that it may be used with. */
  readonly algorithms: readonly string[];
}

/** Of one issuer by their `kid`. */
export type KeySet = ReadonlyMap<string, IssuerKey>;

/** An issuer has a handful; a cluster of many API servers a few more. */
const MAX_KEYS = 100;
const MAX_KID = 512;
/** Bits of an RSA modulus: what is shorter is weak, what is longer takes long. */
const RSA_BITS = { least: 2048, most: 8192 };
const EC_ALGORITHMS: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

/**
 * The keys of a JWKS (RFC 7517) that may verify a signature: public, asymmetric and with a `kid`. Others in
 * it are left out, as they may be for another use. Of one `kid` that stands twice none counts. Throws a
 * `ConfigError` when none is left, when there are more than 100, or when a private key stands there:
 * `source` is where it comes from.
 */
export function parseJwks(text: string, source: string): KeySet {
  const keys = readKeys(text);
  if (!keys || keys.length > MAX_KEYS) {
    throw new ConfigError([TEXTS.notJwks({ source, most: MAX_KEYS })]);
  }
  if (keys.some(({ d, k }) => d !== undefined || k !== undefined)) {
    throw new ConfigError([TEXTS.privateJwks({ source })]);
  }
  const found = keys.flatMap((jwk): [string, IssuerKey][] => {
    const key = readKey(jwk);
    return key && typeof jwk.kid === 'string' ? [[jwk.kid, key]] : [];
  });
  const named = Map.groupBy(found, ([kid]) => kid);
  const set = new Map(found.filter(([kid]) => named.get(kid)?.length === 1));
  if (set.size === 0) throw new ConfigError([TEXTS.emptyJwks({ source })]);
  return set;
}

/** The inverse of `parseJwks`, of what it has kept. */
export function formatJwks(set: KeySet): { keys: object[] } {
  const keys = [...set].map(([kid, { key, algorithms }]) => ({
    ...key.export({ format: 'jwk' }),
    kid,
    use: 'sig',
    ...(algorithms.length === 1 && { alg: algorithms[0] }),
  }));
  return { keys };
}

type Jwk = webcrypto.JsonWebKey & {
  readonly kid?: unknown;
  readonly use?: unknown;
  readonly alg?: unknown;
};

function readKeys(text: string): readonly Jwk[] | undefined {
  try {
    const { keys } = JSON.parse(text) as { keys?: unknown };
    const isList = Array.isArray(keys) && keys.every((key) => typeof key === 'object' && key);
    return isList ? (keys as Jwk[]) : undefined;
  } catch {
    return undefined;
  }
}

function readKey(jwk: Jwk): IssuerKey | undefined {
  const { kid, use = 'sig', alg } = jwk;
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID || use !== 'sig')
    return undefined;
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    const algorithms = algorithmsOf(key).filter((each) => alg === undefined || alg === each);
    return algorithms.length > 0 ? { key, mark: markOf(key), algorithms } : undefined;
  } catch {
    return undefined;
  }
}

function markOf(key: KeyObject): string {
  const bytes = key.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(bytes).digest('base64url').slice(0, 16);
}

function algorithmsOf({ asymmetricKeyType: type, asymmetricKeyDetails = {} }: KeyObject): string[] {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails;
  if (type === 'ed25519') return ['EdDSA', 'Ed25519'];
  if (type === 'ec') return [EC_ALGORITHMS[namedCurve] ?? []].flat();
  const isRsa = type === 'rsa' && modulusLength >= RSA_BITS.least && modulusLength <= RSA_BITS.most;
  return isRsa ? ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] : [];
}
