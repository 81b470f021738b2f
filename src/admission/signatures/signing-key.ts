import { ed25519ph } from '@noble/curves/ed25519.js';
import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { TEXTS } from './texts.ts';

const FORM = /^\s*-----BEGIN (PUBLIC KEY|RSA PUBLIC KEY)-----[A-Za-z0-9+/=\s]+-----END \1-----\s*$/;
const MIN_RSA_BITS = 2048;
type Verify = (key: KeyObject, signed: Uint8Array, signature: Uint8Array) => boolean;

/** What goes with a key, the usual one first. Which one it was is never asked of the sender. */
const WAYS: Readonly<Record<string, readonly Verify[]>> = {
  prime256v1: [by('sha256')],
  secp384r1: [by('sha384'), by('sha256')],
  secp521r1: [by('sha512'), by('sha256')],
  rsa: [by('sha256'), by('sha384'), by('sha512')],
  // Cosign 3 signs a hash with such a key (Ed25519ph), which Node does not know; earlier ones the bytes.
  ed25519: [byPrehash, by(null)],
};

/** A public key as it is configured. Throws a `TypeError` that says what is wrong with it. */
export function parsePublicKey(pem: string): KeyObject {
  // Of a private key the library would make the public one, and a secret would lie with what everybody reads.
  if (!FORM.test(pem)) throw new TypeError(TEXTS.notPublicKey);
  const key = decode(pem);
  if (waysOf(key).length === 0) throw new TypeError(TEXTS.weakKey);
  return key;
}

/** Whether the key made the signature of these bytes, in one of the ways that go with it. */
export function isSignedBy(key: KeyObject, signed: Uint8Array, signature: Uint8Array): boolean {
  return waysOf(key).some((isMade) => {
    try {
      return isMade(key, signed, signature);
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
function waysOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): readonly Verify[] {
  const { namedCurve, modulusLength = 0 } = asymmetricKeyDetails ?? {};
  if (asymmetricKeyType === 'rsa' && modulusLength < MIN_RSA_BITS) return [];
  return WAYS[(asymmetricKeyType === 'ec' ? namedCurve : asymmetricKeyType) ?? ''] ?? [];
}

function by(hash: string | null): Verify {
  return (key, signed, signature) => verify(hash, signed, key, signature);
}

function byPrehash(key: KeyObject, signed: Uint8Array, signature: Uint8Array): boolean {
  const { x } = key.export({ format: 'jwk' });
  return ed25519ph.verify(signature, signed, Buffer.from(x!, 'base64url'), { zip215: false });
}
