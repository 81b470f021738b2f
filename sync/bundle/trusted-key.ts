import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

/** `p256` is ECDSA on P-256 with SHA-256, for machines where FIPS rules leave no Ed25519. */
export type KeyAlgorithm = 'ed25519' | 'p256';

/** Of both algorithms; those of ECDSA are in the fixed form of IEEE P1363. */
export const SIGNATURE_BYTES = 64;

/** A public key: whoever holds its other half may be believed. */
export class TrustedKey {
  /** The digest of `der`. */
  readonly id: Digest;
  /** Its SubjectPublicKeyInfo. */
  readonly der: Buffer;
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.der = key.export({ type: 'spki', format: 'der' });
    this.id = digestOf(this.der);
  }

  /** Throws a `BundleError` with code `key` for a key of another kind. */
  static of(key: KeyObject): TrustedKey {
    kindOf(key);
    // A point can be written in two forms; by way of a JWK there is one, so that a key has one id.
    return new TrustedKey(createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' }));
  }

  /** Of SPKI in PEM. Throws a `BundleError` with code `key`. */
  static read(pem: string): TrustedKey {
    const [, label] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(pem) ?? [];
    if (label?.endsWith('PRIVATE KEY')) throw new BundleError('key', TEXTS.keyIsPrivate);
    if (label !== 'PUBLIC KEY') {
      throw new BundleError('key', TEXTS.keyNotPem({ label: 'PUBLIC KEY' }));
    }
    return TrustedKey.#load({ key: pem, format: 'pem' });
  }

  /** Of SPKI in DER, as `der` has it. Throws a `BundleError` with code `key`. */
  static decode(der: Uint8Array): TrustedKey {
    return TrustedKey.#load({ key: Buffer.from(der), format: 'der', type: 'spki' });
  }

  static #load(input: Parameters<typeof createPublicKey>[0]): TrustedKey {
    let key: KeyObject;
    try {
      key = createPublicKey(input);
    } catch (error) {
      const { message } = error as Error;
      throw new BundleError('key', TEXTS.keyDamaged({ reason: message }), { cause: error });
    }
    return TrustedKey.of(key);
  }

  /** SPKI in PEM. */
  format(): string {
    return this.#key.export({ type: 'spki', format: 'pem' });
  }

  /** Whether the other half of this key signed these bytes; whatever the signature is, it never throws. */
  verify(bytes: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== SIGNATURE_BYTES) return false;
    try {
      return kindOf(this.#key) === 'ed25519'
        ? verify(null, bytes, this.#key, signature)
        : verify('sha256', bytes, { key: this.#key, dsaEncoding: 'ieee-p1363' }, signature);
    } catch {
      return false;
    }
  }
}

/** Throws a `BundleError` with code `key` for all but the two kinds that are used here. */
export function kindOf(key: KeyObject): KeyAlgorithm {
  const { asymmetricKeyType: type = 'unknown', asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return 'ed25519';
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'p256';
  const kind = type === 'ec' ? `ec ${details?.namedCurve ?? ''}`.trim() : type;
  throw new BundleError('key', TEXTS.keyKind({ kind }));
}
