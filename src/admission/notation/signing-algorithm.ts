import { constants, verify, type KeyObject } from 'node:crypto';
import { refuse } from './refuse.ts';

/** How a key signs: the key alone says it, never who hands in the signature. */
export interface SigningAlgorithm {
  /** As JWS names it. */
  readonly name: string;
  /** As COSE does. */
  readonly label: number;
  readonly hash: string;
}

const BY_KEY: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: { name: 'ES256', label: -7, hash: 'sha256' },
  secp384r1: { name: 'ES384', label: -35, hash: 'sha384' },
  secp521r1: { name: 'ES512', label: -36, hash: 'sha512' },
  'RSA 2048': { name: 'PS256', label: -37, hash: 'sha256' },
  'RSA 3072': { name: 'PS384', label: -38, hash: 'sha384' },
  'RSA 4096': { name: 'PS512', label: -39, hash: 'sha512' },
};
const MIN_RSA_BITS = 2048;

/**
 * Throws `Refused` for a key that may sign nothing.
 * @see https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md#algorithm-selection
 */
export function algorithmOf(key: KeyObject): SigningAlgorithm {
  const algorithm = BY_KEY[kindOf(key)];
  if (algorithm) return algorithm;
  throw refuse('key', { key: kindOf(key) });
}

/** What is wrong with the key of an authority, of which other sizes count too; `undefined`: nothing. */
export function weaknessOf(key: KeyObject): string | undefined {
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const isLong = key.asymmetricKeyType === 'rsa' && modulusLength >= MIN_RSA_BITS;
  return isLong || BY_KEY[kindOf(key)] ? undefined : kindOf(key);
}

export function isSignedBy(key: KeyObject, signed: Uint8Array, signature: Uint8Array): boolean {
  const how = {
    key,
    dsaEncoding: 'ieee-p1363',
    ...(key.asymmetricKeyType === 'rsa' && {
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    }),
  } as const;
  return verify(algorithmOf(key).hash, signed, how, signature);
}

function kindOf({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): string {
  const { namedCurve = 'an unnamed curve', modulusLength = 0 } = asymmetricKeyDetails;
  if (asymmetricKeyType === 'rsa') return `RSA ${modulusLength}`;
  return asymmetricKeyType === 'ec' ? namedCurve : String(asymmetricKeyType);
}
