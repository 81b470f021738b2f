import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { TEXTS } from './texts.ts';

const FORM = /^\s*-----BEGIN (PUBLIC KEY|RSA PUBLIC KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----\s*$/;
const MIN_RSA_BITS = 2048;
/** The hashes that go with a key, the usual one first. Which one it was is never asked of the sender. */
const HASHES: Readonly<Record<string, readonly (string | null)[]>> = {
  prime256v1: ['sha256'],
  secp384r1: ['sha384', 'sha256'],
  secp521r1: ['sha512', 'sha256'],
  rsa: ['sha256', 'sha384', 'sha512'],
  ed25519: [null],
};

/** A public key as it is configured. Throws a `TypeError` that says what is wrong with it. */
export function parsePublicKey(pem: string): KeyObject {
  // Of a private key the library would make the public one, and a secret would lie with what everybody reads.
  if (!FORM.test(pem)) throw new TypeError(TEXTS.notPublicKey);
  const key = decode(pem);
  if (hashesOf(key).length === 0) throw new TypeError(TEXTS.weakKey);
  return key;
}

/** Whether the key made the signature of these bytes, by one of the hashes that go with it. */
export function isSignedBy(key: KeyObject, signed: Uint8Array, signature: Uint8Array): boolean {
  return hashesOf(key).some((hash) => {
    try {
      return verify(hash, signed, key, signature);
    } catch {
      return false;
    }
  });
}

function decode(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (error) {
    throw new TypeError(TEXTS.notPublicKey, { cause: error });
  }
}

/** None for a key that is too weak, or of another kind. */
function hashesOf({
  asymmetricKeyType,
  asymmetricKeyDetails,
}: KeyObject): readonly (string | null)[] {
  const { namedCurve, modulusLength = 0 } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'rsa' && modulusLength < MIN_RSA_BITS) return [];
  return HASHES[(asymmetricKeyType === 'ec' ? namedCurve : asymmetricKeyType) ?? ''] ?? [];
}
