import type { Certificate } from './certificate.ts';

/** Whom Notation signatures are traced back to, by the type of the store: those of all named stores. */
export interface TrustStores {
  readonly ca: readonly Certificate[];
  readonly signingAuthority: readonly Certificate[];
  readonly tsa: readonly Certificate[];
}
