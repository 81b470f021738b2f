import type { AdmissionConditionReport } from '../api/admission-api.ts';
import type { Digest } from '../oci/digest.ts';

/** What a rule says of an image. */
export type Verdict =
  | {
      readonly is: 'admitted';
      /** Left out for what no signature is asked of. */
      readonly by?: Verified;
      /** The manifest that carries the signature. */
      readonly carrier?: Digest;
      /** From then on it may be another one; milliseconds since 1970. */
      readonly validUntil?: number;
    }
  | {
      readonly is: 'refused';
      readonly refusals: readonly Refusal[];
      /** Beside these. */
      readonly more?: number;
      /** Of which condition of its rule. */
      readonly asks?: ConditionName;
    }
  /** Nobody knows: what would tell could not be had. */
  | { readonly is: 'unknown'; readonly reason: string; readonly isOffline: boolean };

/** Somebody who signed, as a rule may name it. */
export type Signer =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'keyless'; readonly identity: string; readonly issuer: string }
  /** At the level `audit` whoever signed it counts, with a doubt. */
  | {
      readonly kind: 'notation';
      readonly identity: string;
      readonly level: 'strict' | 'audit';
    };

/** Evidence that counts: who signed it is one whom the rule names. */
export interface Verified {
  readonly signer: Signer;
  /** The earliest time at which a witness whom we trust saw the signature, milliseconds since 1970. */
  readonly at?: number;
  /** From then on it counts no longer, milliseconds since 1970. */
  readonly until?: number;
  /** Why it would not count if it were asked strictly. */
  readonly doubt?: Refusal;
  /** The digest of the evidence. */
  readonly what: string;
  /** What was stated of the image, where it was more than a signature. */
  readonly statement?: { readonly predicateType: string; readonly predicate: unknown };
}

/** Evidence that does not count. */
export interface Refusal {
  readonly code: string;
  /** One sentence: what is wrong. */
  readonly reason: string;
  /** The digest of the evidence. */
  readonly what?: string;
}

/** What a rule may ask of an image, as its keys are named. */
export type ConditionName = AdmissionConditionReport['asks'];
