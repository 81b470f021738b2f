import type { AdmissionReport } from './admission-api.ts';

/** What the admin API needs of access control. Times are milliseconds since 1970. */
export interface AccessApi {
  tokens(): readonly ApiToken[];
  createToken(wish: TokenWish): Promise<NewApiToken>;
  /** False when there was none. */
  revokeToken(id: string): Promise<boolean>;
}

/** At the admin door; each includes those before it. */
export type TokenRole = 'metrics' | 'view' | 'operate' | 'admin';

export interface TokenWish {
  /** Rules name it `token:NAME`. */
  readonly name: string;
  /** Who answers for it; rules do not look at it. */
  readonly owner: string;
  /** Without it, it counts until it is revoked. */
  readonly lifetimeMs?: number;
  /** What it may at the admin door, whatever rules give; without it what they give to its name. */
  readonly role?: TokenRole;
}

export interface ApiToken extends Pick<TokenWish, 'name' | 'owner' | 'role'> {
  readonly id: string;
  readonly expiresAt?: number;
  readonly createdAt: number;
  /** The day on which it was last used. */
  readonly usedAt?: number;
}

export interface NewApiToken extends ApiToken {
  /** Told once. */
  readonly secret: string;
}

/** A part of a rule, as the configuration names it. */
export type RulePart = 'may' | 'images' | 'from' | 'who';

/** A rule as the configuration has it. */
export interface RuleReport {
  /** `access.rules[2]`, counted from 0. */
  readonly place: string;
  readonly who: readonly string[];
  readonly from?: readonly string[];
  readonly may: readonly string[];
  readonly images?: readonly string[];
}

/** The one part of a rule that keeps it from giving what is asked for. */
export interface NearRule extends RuleReport {
  readonly lacks: RulePart;
}

/** What the rules say, and which one says it. */
export type RuleVerdict =
  | { readonly isAllowed: true; readonly by: RuleReport }
  | { readonly isAllowed: false; readonly nearest: readonly NearRule[] };

/** Whether a subject may have an image. Each power that has a say stands under a key of its own. */
export interface PolicyReport {
  /** With its registry, as rules name it. */
  readonly image: string;
  /** As rules name who asks; empty for nobody in particular, left out where nobody was asked about. */
  readonly subject?: readonly string[];
  /** Users and tokens of these that are not there now; left out where there is none. */
  readonly unknown?: readonly string[];
  readonly address?: string;
  /** Whether it may be pulled, by all that have a say. */
  readonly isAllowed: boolean;
  /** By `access.rules`; left out where there are none, and everybody may, or nobody was asked about. */
  readonly access?: { readonly pull: RuleVerdict; readonly list: RuleVerdict };
  /** By `admission.rules`; left out where none is about it. */
  readonly admission?: AdmissionReport;
}
