import type { HeldFiles } from '../../config/held-files.ts';
import type { Clock } from '../../time/clock.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Secrets } from '../secrets.ts';
import { askProvider, firstLine } from './ask-provider.ts';
import { ExpiringValue, type Issued } from '../expiring-value.ts';
import { TEXTS } from '../texts.ts';

/**
 * A proof of who pulls.
 * - `password`: name and password, as Basic or for the registry's token service.
 * - `identity-token`: a refresh token that the token service exchanges (OAuth2, POST).
 * - `bearer`: goes to the registry as it is.
 */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity-token'; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

export function secretOf(credential: Credential): string {
  return credential.kind === 'password' ? credential.password : credential.token;
}

/** Where a credential comes from: the configuration, or a provider that issues one for some time. */
export interface CredentialSource {
  /** For the operator, without a secret: `robot`, `ecr`. */
  readonly label: string;
  /** The one to use now. Throws `UpstreamError` when there is none to be had. */
  get(): Promise<Credential>;
  /** The registry refused the credential. True when the next `get` may bring a newer one. */
  refuse(credential: Credential): boolean;
}

export interface IssuedCredentialParts {
  readonly upstream: string;
  /** The provider's name, for messages. */
  readonly label: string;
  /** Asks the provider. Its errors are told in one line and never carry a secret. */
  readonly issue: (signal: AbortSignal) => Promise<Issued<Credential>>;
  /** What is issued is one more. */
  readonly secrets: Secrets;
  readonly clock: Clock;
  /** What the provider is asked with, where that stands in a file: what was issued by an older one counts no more. */
  readonly basis?: HeldFiles<unknown> | undefined;
  /** Told when one ends, milliseconds since 1970, where its issuer says. */
  readonly ending?: (label: string, at: number) => void;
  /** Aborts when the mirror closes. */
  readonly closing?: AbortSignal | undefined;
}

/** A credential so young is not the reason of a refusal. */
const YOUNG_MS = 60_000;

/** A credential that a provider issues: renewed ahead of its end, and when the registry refuses it. */
export class IssuedCredential implements CredentialSource {
  readonly label: string;
  readonly #value: ExpiringValue<Credential>;
  readonly #basis: HeldFiles<unknown> | undefined;
  #issuedBy: unknown;

  constructor(parts: IssuedCredentialParts) {
    const { upstream, label, issue, secrets, clock, basis, closing, ending } = parts;
    this.label = label;
    this.#basis = basis;
    this.#value = new ExpiringValue({
      clock,
      fetch: async () => {
        try {
          this.#issuedBy = basis?.current;
          const issued = await askProvider(issue, { closing });
          secrets.add(secretOf(issued.value));
          const { lifeMs, expiresAt = lifeMs && clock.wall() + lifeMs } = issued;
          if (expiresAt !== undefined) ending?.(label, expiresAt);
          return issued;
        } catch (error) {
          if (error instanceof UpstreamError) throw error;
          const reason = TEXTS.noCredential({ label, reason: secrets.redact(firstLine(error)) });
          throw new UpstreamError(upstream, 'unauthorized', reason, { cause: error });
        }
      },
    });
  }

  async get(): Promise<Credential> {
    const isIssued = this.#issuedBy !== undefined;
    if (isIssued && this.#basis?.current !== this.#issuedBy) this.#value.drop();
    return this.#value.get();
  }

  refuse(credential: Credential): boolean {
    if (this.#basis && this.#basis.again() !== this.#issuedBy) return true;
    const ageMs = this.#value.ageOf(credential);
    // Somebody else's refusal has brought a newer one already.
    if (ageMs === undefined) return true;
    if (ageMs < YOUNG_MS) return false;
    this.#value.drop(credential);
    return true;
  }
}
