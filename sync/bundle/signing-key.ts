import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';
import { kindOf, TrustedKey, type KeyAlgorithm } from './trusted-key.ts';

/** The private key of whoever makes bundles, or of a site that signs its inventory. */
export class SigningKey {
  readonly public: TrustedKey;
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.public = TrustedKey.of(createPublicKey(key));
    this.#key = key;
  }

  static generate(algorithm: KeyAlgorithm = 'ed25519'): SigningKey {
    const { privateKey } =
      algorithm === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    return new SigningKey(privateKey);
  }

  /** Of PKCS#8 in PEM. Throws a `BundleError` with code `key`. */
  static read(pem: string): SigningKey {
    const [, label] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(pem) ?? [];
    if (label === 'PUBLIC KEY') throw new BundleError('key', TEXTS.keyIsPublic);
    if (label === 'ENCRYPTED PRIVATE KEY') throw new BundleError('key', TEXTS.keyEncrypted);
    if (label?.endsWith(' PRIVATE KEY')) throw new BundleError('key', TEXTS.keyOldForm);
    if (label !== 'PRIVATE KEY') {
      throw new BundleError('key', TEXTS.keyNotPem({ label: 'PRIVATE KEY' }));
    }
    let key: KeyObject;
    try {
      key = createPrivateKey(pem);
    } catch (error) {
      const { message } = error as Error;
      throw new BundleError('key', TEXTS.keyDamaged({ reason: message }), { cause: error });
    }
    return new SigningKey(key);
  }

  /** PKCS#8 in PEM. */
  format(): string {
    return this.#key.export({ type: 'pkcs8', format: 'pem' });
  }

  /** 64 bytes. With Ed25519 the same bytes have the same signature. */
  sign(bytes: Uint8Array): Buffer {
    return kindOf(this.#key) === 'ed25519'
      ? sign(null, bytes, this.#key)
      : sign('sha256', bytes, { key: this.#key, dsaEncoding: 'ieee-p1363' });
  }
}
