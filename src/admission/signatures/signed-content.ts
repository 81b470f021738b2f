import type { Bundle } from '@sigstore/bundle';
import type { SignedEntity } from '@sigstore/verify';
import { hash, timingSafeEqual, type KeyObject } from 'node:crypto';
import { isSignedBy } from './signing-key.ts';

type Asked = SignedEntity['signature'];

/**
 * What was signed and how, for the library to ask. Its own knows SHA-256 alone in an envelope, and believes
 * a bundle what was hashed and how: here the hash goes with the key, and digests are those of the bytes.
 */
export class SignedContent implements Asked {
  readonly signature: Buffer;
  readonly #signed: Uint8Array;
  readonly #payload: Uint8Array;

  /** `artifact` is what a signature outside an envelope is of. */
  constructor({ content }: Bundle, artifact: Uint8Array) {
    if (content.$case === 'messageSignature') {
      this.signature = content.messageSignature.signature;
      this.#signed = this.#payload = artifact;
    } else {
      const { payloadType, payload, signatures } = content.dsseEnvelope;
      this.signature = signatures[0]!.sig;
      this.#payload = payload;
      this.#signed = encodeEnvelope(payloadType, payload);
    }
  }

  compareSignature(signature: Uint8Array): boolean {
    return isEqual(signature, this.signature);
  }

  /** Of the payload, or of what stands in place of it. */
  compareDigest(digest: Uint8Array): boolean {
    return isDigestOf(digest, this.#payload);
  }

  /** Of what was put under the signature. */
  compareSignedDigest(digest: Uint8Array): boolean {
    return isDigestOf(digest, this.#signed);
  }

  verifySignature(key: KeyObject): boolean {
    return isSignedBy(key, this.#signed, this.signature);
  }
}

const BY_LENGTH: Readonly<Record<number, string>> = { 32: 'sha256', 48: 'sha384', 64: 'sha512' };

function isDigestOf(digest: Uint8Array, bytes: Uint8Array): boolean {
  const algorithm = BY_LENGTH[digest.length];
  return algorithm !== undefined && isEqual(digest, hash(algorithm, bytes, 'buffer'));
}

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/** @see https://github.com/secure-systems-lab/dsse/blob/master/protocol.md#signature-definition */
function encodeEnvelope(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
