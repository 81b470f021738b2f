import type { KeySet } from '../config/jwks.ts';

/** The public keys of one issuer, from wherever they come. */
export interface IssuerKeys {
  /** As far as they are known now. */
  readonly current: KeySet;
  /** By the operator: what is taken out counts no more, not even for what it has verified. */
  readonly isPinned: boolean;
  /** Resolves when some are known, or when that was tried. Never rejects. */
  load(): Promise<void>;
  /** For a key that is not among them: resolves when that was tried, at once while it was tried lately. Never rejects. */
  seek(): Promise<void>;
}
