import type { Certificate } from './certificate.ts';

/** A signature with what it is of, whichever form it was written in; nothing of it is verified yet. */
export interface Envelope {
  readonly payload: Buffer;
  /** What the signature is of, byte for byte. */
  readonly signed: Buffer;
  readonly signature: Buffer;
  /** The algorithm that it names, and that its key would have. */
  readonly algorithm: { readonly named: string; readonly wanted: string };
  /**
   * What was signed beside the payload: `cty`, `crit` (a list of names, where it is one) and those of Notation.
   * Times are of the type `Date`.
   */
  readonly attributes: ReadonlyMap<string, unknown>;
  /** The signer first. At least one. */
  readonly chain: readonly [Certificate, ...Certificate[]];
  /** An RFC 3161 token. */
  readonly timestamp?: Buffer;
}

export const PREFIX = 'io.cncf.notary.';
export const TIMESTAMP = `${PREFIX}timestampSignature`;
/** Of Notation those that are times. */
export const TIMES: ReadonlySet<string> = new Set(
  ['expiry', 'signingTime', 'authenticSigningTime'].map((name) => PREFIX + name),
);
