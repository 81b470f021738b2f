import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';

/**
 * May this manifest leave the mirror? Asked before its first byte or header does, for GET and HEAD,
 * by tag and by digest, held or just fetched. What decides stands above the mirror.
 */
export interface Gate {
  /** Resolves when it may leave. Throws the `RegistryError` that the client is told when it may not. */
  pass(target: Target, digest: Digest): Promise<void>;
}

/** Without a rule, everything may leave. */
export const OPEN_GATE: Gate = { pass: async () => {} };
