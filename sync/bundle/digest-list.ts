import { isDigest, splitDigest, type Algorithm, type Digest } from '../../src/oci/digest.ts';

const BYTES: Record<Algorithm, number> = { sha256: 32, sha512: 64 };

/** Digests of sha256 one after the other without anything between them, and those of sha512. */
export type PackedDigests = readonly [sha256: Uint8Array, sha512: Uint8Array];

/** Of sorted ones, each there once. */
export function packDigests(digests: readonly Digest[]): PackedDigests {
  const all = digests.map(splitDigest);
  const bytesOf = (algorithm: Algorithm): Buffer => {
    const own = all.filter((digest) => digest.algorithm === algorithm);
    return Buffer.from(own.map(({ encoded }) => encoded).join(''), 'hex');
  };
  return [bytesOf('sha256'), bytesOf('sha512')];
}

/** Throws for what `packDigests` does not make. */
export function unpackDigests(packed: unknown): Digest[] {
  const lists: unknown[] = Array.isArray(packed) ? packed : [];
  const [sha256, sha512, ...rest] = lists;
  if (rest.length > 0) throw new Error('digests of an unknown algorithm');
  return [...unpack(sha256, 'sha256'), ...unpack(sha512, 'sha512')];
}

function unpack(bytes: unknown, algorithm: Algorithm): Digest[] {
  const size = BYTES[algorithm];
  if (!(bytes instanceof Uint8Array) || bytes.length % size !== 0) throw new Error('half a digest');
  const hex = Buffer.from(bytes).toString('hex');
  const digests: Digest[] = [];
  for (let at = 0; at < hex.length; at += size * 2) {
    const digest = `${algorithm}:${hex.slice(at, at + size * 2)}`;
    const last = digests.at(-1);
    if (!isDigest(digest) || (last !== undefined && digest <= last)) {
      throw new Error('digests that are not sorted');
    }
    digests.push(digest);
  }
  return digests;
}
