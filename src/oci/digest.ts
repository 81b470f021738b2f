import { createHash, hash, type Hash } from 'node:crypto';
import { RegistryError } from './errors.ts';
import { TEXTS } from './texts.ts';

/** `algorithm:hex` of an algorithm that can be verified here. */
export type Digest = `${Algorithm}:${string}` & { readonly __brand: 'Digest' };
export type Algorithm = 'sha256' | 'sha512';

/** The digests that can be verified here. */
export const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
/** Every digest of the spec. */
const GRAMMAR = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;
const EMPTY = new Uint8Array();
const HEX_LENGTH: Record<Algorithm, number> = { sha256: 64, sha512: 128 };

/**
 * Throws `DIGEST_INVALID` for anything malformed and for algorithms that cannot be verified here.
 * @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new RegistryError('DIGEST_INVALID', { detail: explainInvalid(text) });
}

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && DIGEST.test(text);
}

function explainInvalid(text: string): string {
  if (!GRAMMAR.test(text)) return TEXTS.quoted({ text: clip(text) });
  const algorithm = text.slice(0, text.indexOf(':'));
  if (!isAlgorithm(algorithm)) {
    return TEXTS.algorithm({ algorithm: clip(algorithm) });
  }
  return TEXTS.digest({ text: clip(text), algorithm, digits: HEX_LENGTH[algorithm] });
}

export function splitDigest(digest: Digest): { algorithm: Algorithm; encoded: string } {
  const colon = digest.indexOf(':');
  return { algorithm: digest.slice(0, colon) as Algorithm, encoded: digest.slice(colon + 1) };
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}` as Digest;
}

/** Whether it is the digest of no bytes at all. */
export function isEmpty(digest: Digest): boolean {
  return digestOf(EMPTY, splitDigest(digest).algorithm) === digest;
}

/** Hashes bytes as they come; `value` may be called once. */
export class Digester {
  readonly #algorithm: Algorithm;
  readonly #hash: Hash;

  constructor(algorithm: Algorithm, hash = createHash(algorithm)) {
    this.#algorithm = algorithm;
    this.#hash = hash;
  }

  copy(): Digester {
    return new Digester(this.#algorithm, this.#hash.copy());
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }

  value(): Digest {
    return `${this.#algorithm}:${this.#hash.digest('hex')}` as Digest;
  }
}

export function isAlgorithm(text: string): text is Algorithm {
  return Object.hasOwn(HEX_LENGTH, text);
}

function clip(text: string): string {
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

/**
 * Bytes do not match their digest or length. They are not kept, and no answer with them is
 * completed.
 */
export class IntegrityError extends Error {
  override readonly name = 'IntegrityError';
  readonly expected: string;
  readonly actual: string;

  constructor(digest: Digest, difference: { expected: string; actual: string }) {
    super(TEXTS.mismatch({ digest, ...difference }));
    this.expected = difference.expected;
    this.actual = difference.actual;
  }
}
