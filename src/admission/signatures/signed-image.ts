import { hash } from 'node:crypto';
import { splitDigest, type Digest } from '../../oci/digest.ts';
import { refuse } from './refused.ts';

/** The image that evidence has to be about. */
export interface SignedImage {
  readonly digest: Digest;
  /** The bytes of that digest. */
  readonly manifest: Uint8Array;
}

const ALGORITHMS = new Set(['sha256', 'sha384', 'sha512']);

/** Throws `Refused` unless each of these digests is that of the image, SHA-256 among them. */
export function checkDigests(named: Readonly<Record<string, unknown>>, image: SignedImage): void {
  if (!isNamed(named, image)) throw refuse('subject');
  const unknown = Object.keys(named).find((algorithm) => !ALGORITHMS.has(algorithm));
  if (unknown !== undefined) throw refuse('digest-algorithm', { algorithm: unknown });
  const isOther = Object.entries(named).some(
    ([algorithm, encoded]) => encoded !== hash(algorithm, image.manifest, 'hex'),
  );
  if (isOther) throw refuse('subject');
}

/** Whether SHA-256, which is mandatory, names the image. */
export function isNamed(named: Readonly<Record<string, unknown>>, image: SignedImage): boolean {
  const { algorithm, encoded } = splitDigest(image.digest);
  const wanted = algorithm === 'sha256' ? encoded : hash('sha256', image.manifest, 'hex');
  return Object.hasOwn(named, 'sha256') && named['sha256'] === wanted;
}
