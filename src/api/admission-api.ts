import type { UntakenImage } from './bundle-api.ts';
import type { KeptImage } from './store-api.ts';

/** What the admin API asks of admission. Times are milliseconds since 1970. */
export interface AdmissionApi {
  /**
   * What the rules say of an image, named as any client names it: by its digest, or by what its tag means in a
   * pull, `latest` where none is written. With `isHeld` nothing is asked of an upstream, a scanner or anyone.
   * Throws a `RegistryError` for what names no image that is mirrored here.
   */
  report(image: string, how?: { readonly isHeld?: boolean }): Promise<AdmissionReport>;
}

/** `unknown`: what would tell could not be had. */
export type AdmissionOutcome = 'admitted' | 'refused' | 'unknown';

/** What the rules of admission say of an image. */
export interface AdmissionReport {
  /** With registry and digest; as it was asked for where no rule is about it, or its tag cannot be resolved. */
  readonly image: string;
  /** False where a rule that enforces refuses it, or cannot tell. */
  readonly isAllowed: boolean;
  /** Why nothing could be judged: what the tag means is not known, or there is no such image. */
  readonly reason?: string;
  /** Those about the repository that are not off, in the order of the configuration. */
  readonly rules: readonly AdmissionRuleReport[];
}

/** What is kept, and would be refused if somebody asked for it now. */
export interface RefusedImage extends KeptImage {
  /** True where only rules that audit would refuse it. */
  readonly isAllowed: boolean;
  /** Those that it does not meet. */
  readonly rules: readonly AdmissionRuleReport[];
}

/** An image that a bundle brought and that was not taken, since it was refused; it is held all the same. */
export interface RefusedImport extends RefusedImage {
  /** Which one brought it last, and when. */
  readonly bundle: Pick<UntakenImage, 'series' | 'number' | 'broughtAt'>;
}

export interface RefusedPage {
  readonly images: readonly RefusedImage[];
  /** On the first page, where there are any: also what no rule would refuse any more. */
  readonly imports?: readonly RefusedImport[];
  /** Where the next page begins, behind this image; left out on the last one. */
  readonly next?: string;
}

export interface AdmissionRuleReport {
  /** `admission.rules[2]`, counted from 0. */
  readonly place: string;
  readonly images: readonly string[];
  /** `audit`: it keeps nothing back. */
  readonly mode: 'audit' | 'enforce';
  readonly outcome: AdmissionOutcome;
  /** Why it is not met, where no condition says it. */
  readonly reason?: string;
  /** Empty for what no rule asks anything of: signatures, and lists of what is attached. */
  readonly conditions: readonly AdmissionConditionReport[];
}

/** One of the things that a rule asks. */
export interface AdmissionConditionReport {
  readonly asks: 'signedBy' | 'minAge' | 'vulnerabilities';
  readonly outcome: AdmissionOutcome;
  /** Why it is not met. */
  readonly reason?: string;
  /** Until when this counts, where the condition knows: an age is reached, an exception ends. */
  readonly until?: number;
  /** Those that were looked at, 128 at most: of the image, and of held indexes that list it. */
  readonly signatures?: readonly SignatureReport[];
  /** Above the line that the rule draws: those that count come first. */
  readonly findings?: readonly FindingReport[];
  /** What is not told here: there are more findings than an answer holds. */
  readonly moreFindings?: number;
}

export interface SignatureReport {
  /** Of what was signed: the image, or an index that lists it. */
  readonly subject: string;
  /** Of the manifest that carries it. */
  readonly carrier: string;
  readonly counts: boolean;
  /** Who signed: a name among `trust.keys`, or who the certificate names. Of one that counts. */
  readonly key?: string;
  readonly identity?: string;
  /** By whose word. */
  readonly issuer?: string;
  /** When a witness that is trusted saw it, where one did. */
  readonly at?: number;
  /** Why it does not count, or why it would not at a stricter level. */
  readonly reason?: string;
}

export interface FindingReport {
  readonly id: string;
  readonly severity: string;
  readonly package: string;
  readonly version: string;
  /** The first version without it, where there is one. */
  readonly fixVersion?: string;
  readonly counts: boolean;
  /** Why it does not count. */
  readonly reason?: string;
}
