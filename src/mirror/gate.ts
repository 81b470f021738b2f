import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Tag, Target } from '../oci/reference.ts';

export interface TaggedManifest {
  readonly target: Target;
  readonly tag: Tag;
  readonly digest: Digest;
}

/**
 * May this leave the mirror? Asked before the first byte or header of it does, whether it is held or just
 * fetched. What decides stands above the mirror. `askedAt`: when the client asked, by the steady clock.
 */
export interface Gate {
  /** Whether it has anything to say of the repository: where not, all may leave unasked. */
  isJudged(target: Target): boolean;
  /**
   * Of a manifest: for GET and HEAD, by tag and by digest. Throws the `RegistryError` that the client is told: a
   * `GateRefusal` where it may not leave.
   */
  pass(target: Target, digest: Digest, askedAt: number): Promise<void>;
  /**
   * Of the manifest that a tag means. Resolves with what leaves instead, which may be an earlier one of the tag.
   * Throws as `pass` does.
   */
  passTag(image: TaggedManifest, askedAt: number): Promise<Digest>;
  /** Of a blob. Throws as `pass` does. */
  passBlob(target: Target, digest: Digest, askedAt: number): Promise<void>;
}

/** What a client is told of something that may not leave; requests that end so are counted as refused. */
export class GateRefusal extends RegistryError {
  constructor(message: string) {
    super('DENIED', { message });
  }
}
