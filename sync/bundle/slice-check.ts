import { createHash, type Hash } from 'node:crypto';
import { Digester, splitDigest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import type { Slice } from './content.ts';
import { TEXTS } from './texts.ts';

/**
 * Counts and hashes the bytes of a slice as they go by. Throws a `BundleError` with code `content` as soon
 * as there are more than its size, and at the end where there are fewer, or where it is a whole entry that
 * does not match its digest.
 */
export class SliceCheck {
  readonly #slice: Slice;
  readonly #sha256: Hash = createHash('sha256');
  /** Where the entry has a digest by another algorithm. */
  readonly #digester: Digester | undefined;
  #left: number;

  constructor(slice: Slice) {
    const { algorithm } = splitDigest(slice.of.digest);
    this.#slice = slice;
    this.#left = slice.end - slice.start;
    if (slice.isWhole && algorithm !== 'sha256') this.#digester = new Digester(algorithm);
  }

  /** How many bytes are still to come. */
  get left(): number {
    return this.#left;
  }

  update(chunk: Uint8Array): void {
    this.#left -= chunk.length;
    if (this.#left < 0) throw this.#refuse(TEXTS.contentLong);
    this.#sha256.update(chunk);
    this.#digester?.update(chunk);
  }

  /** The SHA-256 of the bytes in hex. */
  end(): string {
    const { of, isWhole } = this.#slice;
    if (this.#left > 0) throw this.#refuse(TEXTS.contentShort);
    const sha256 = this.#sha256.digest('hex');
    const digest = this.#digester?.value() ?? `sha256:${sha256}`;
    if (isWhole && digest !== of.digest) throw this.#refuse(TEXTS.contentDigest);
    return sha256;
  }

  #refuse(text: (parts: { path: string; digest: string }) => string): BundleError {
    const { path, of } = this.#slice;
    return new BundleError('content', text({ path, digest: of.digest }));
  }
}
