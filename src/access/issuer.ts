import { createHash } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import type { Subject } from './subject.ts';

type AccessConfig = NonNullable<Config['access']>;

/** An entry of the configuration, with its kind. */
export type IssuerConfig =
  | ({ readonly kind: 'oidc' } & NonNullable<AccessConfig['oidc']>[number])
  | ({ readonly kind: 'k8s' } & NonNullable<AccessConfig['kubernetes']>[number]);

type Claims = Readonly<Record<string, unknown>>;

/** What rules can name: neither spaces nor what nobody sees, and no more characters than there. */
const VALUE = /^[^\s\p{C}]{1,230}$/u;
/** As Kubernetes has them; neither has a colon. */
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const ACCOUNT = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** One who signs tokens that say who somebody is, and how its claims become names. */
export class Issuer {
  /** As rules name it: `oidc:corp`. No colon is in the name that the configuration gives. */
  readonly name: string;
  readonly iss: string;
  readonly audience: string;
  readonly keys: IssuerKeys;
  /** Of what it is configured as: whatever was given for its tokens ends when that changes. */
  readonly mark: string;
  readonly #config: IssuerConfig;

  constructor(config: IssuerConfig, keys: IssuerKeys) {
    const { kind, name, issuer, audience, jwks } = config;
    this.name = `${kind}:${name}`;
    this.iss = issuer;
    this.audience = audience;
    this.keys = keys;
    this.#config = config;
    const claims = kind === 'oidc' ? [config.subject, config.groups] : [];
    const from = 'file' in jwks ? jwks.file : [jwks.url, jwks.ca?.contents];
    const parts = JSON.stringify([this.name, issuer, audience, from, ...claims]);
    this.mark = createHash('sha256').update(parts).digest('base64url').slice(0, 16);
  }

  /**
   * Whom the claims of a token of its own name, which is always in its own name space; `undefined` for
   * nobody. Groups that no rule can name are left out.
   */
  subjectOf(claims: Claims): Subject | undefined {
    return this.#config.kind === 'oidc'
      ? this.#user(claims, this.#config.subject, this.#config.groups)
      : this.#serviceAccount(claims);
  }

  #user(claims: Claims, subject: string, groups: string | undefined): Subject | undefined {
    const value = own(claims, subject);
    if (!isValue(value)) return undefined;
    // Whoever may enter any address at the provider is not who reads its letters.
    const isVerified = own(claims, 'email_verified') ?? true;
    if (subject === 'email' && isVerified !== true) return undefined;
    const listed = groups === undefined ? [] : [own(claims, groups) ?? []].flat();
    const names = listed.filter(isValue).map((group) => `group:${group}`);
    return { names: [`${this.name}:${value}`, ...new Set(names)] };
  }

  #serviceAccount(claims: Claims): Subject | undefined {
    const place = own(claims, 'kubernetes.io');
    const namespace = own(place, 'namespace');
    const account = own(own(place, 'serviceaccount'), 'name');
    if (typeof namespace !== 'string' || typeof account !== 'string') return undefined;
    const isNamed = NAMESPACE.test(namespace) && ACCOUNT.test(account);
    const isSame = own(claims, 'sub') === `system:serviceaccount:${namespace}:${account}`;
    return isNamed && isSame ? { names: [`${this.name}:${namespace}:${account}`] } : undefined;
  }
}

/** Not what every object has, such as `constructor`. */
function own(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string, unknown>)[key];
}

function isValue(value: unknown): value is string {
  return typeof value === 'string' && VALUE.test(value);
}
