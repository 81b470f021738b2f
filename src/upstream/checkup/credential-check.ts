import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig, UpstreamConfig } from '../../config/config.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { Authenticator, type Proof } from '../authenticator.ts';
import type { Challenge } from '../challenge.ts';
import type { CredentialSource } from '../credentials/credential.ts';
import { openCredentials } from '../credentials/open-credentials.ts';
import type { Sender } from '../../net/transport.ts';
import { failed, keyOf, ok, reasonOf, skipped, warning, type Outcome } from './finding.ts';
import { TEXTS } from '../texts.ts';

export interface CredentialCheckParts {
  readonly config: UpstreamConfig;
  readonly registry: URL;
  readonly sender: Sender;
  readonly clock: Clock;
  /** `undefined`: the registry asks for nothing. */
  readonly challenge: Challenge | undefined;
  /** The repository that a token is asked for; `undefined`: none was named. */
  readonly repository: string | undefined;
  readonly signal: AbortSignal;
}

/** Whether the registry takes a credential, or an anonymous login, as far as that shows without a pull. */
export async function checkCredential(
  entry: CredentialsConfig | undefined,
  parts: CredentialCheckParts,
): Promise<Outcome> {
  const { config, challenge } = parts;
  let source: CredentialSource | undefined;
  try {
    source = entry && openCredentials(entry, { ...parts, upstream: config.name });
    // An issued credential is fetched here, so that a failure is known to be its provider's.
    await source?.get();
  } catch (error) {
    return failed(
      TEXTS.noIssue({ provider: entry?.provider ?? '', reason: reasonOf(error, config.name) }),
      TEXTS.checkProvider({ key: keyOf(config, 'credentials') }),
    );
  }
  if (challenge) return new Proving(parts, source).prove(challenge);
  if (!source) return ok(TEXTS.noneAsked);
  const login = TEXTS.loginNotAsked({ label: source.label });
  return skipped(login, TEXTS.namePrivateImage);
}

/** The check of one credential by one challenge. */
class Proving {
  readonly #parts: CredentialCheckParts;
  readonly #source: CredentialSource | undefined;
  readonly #label: string;

  constructor(parts: CredentialCheckParts, source: CredentialSource | undefined) {
    this.#parts = parts;
    this.#source = source;
    this.#label = source?.label ?? 'anonymous';
  }

  async prove(challenge: Challenge): Promise<Outcome> {
    const { config, repository } = this.#parts;
    const scope =
      repository === undefined
        ? (challenge.parameters['scope'] ?? '')
        : `repository:${repository}:pull`;
    try {
      const authenticator = new Authenticator({
        ...this.#parts,
        upstream: config.name,
        credentials: this.#source,
      });
      const proof = await authenticator.answer(challenge, scope);
      if (!proof.token) return await this.#show(proof);
      const { host } = new URL(challenge.parameters['realm'] ?? '');
      return ok(TEXTS.tokenAccepted({ label: this.#label, host }));
    } catch (error) {
      return this.#explain(error);
    }
  }

  /** A password or bearer token that no token service exchanges is tried at the registry. */
  async #show({ authorization }: Proof): Promise<Outcome> {
    const { config, registry: url, sender, signal } = this.#parts;
    const headers = { accept: 'application/json', authorization };
    const response = await sender.send({ method: 'GET', url, headers, signal });
    await response.dump();
    const { status } = response;
    if (status === 200) return ok(TEXTS.accepted({ label: this.#label, host: url.host }));
    const detail = TEXTS.loginAnswered({ label: this.#label, host: url.host, status });
    const isRefused = status === 401 || status === 403;
    return failed(detail, isRefused ? this.#renewal() : TEXTS.askOperatorOnly({ of: config.name }));
  }

  #explain(error: unknown): Outcome {
    const { config, repository } = this.#parts;
    const detail = TEXTS.faultOf({ of: this.#label, reason: reasonOf(error, config.name) });
    const fault = error instanceof UpstreamError ? error.fault : undefined;
    if (fault === 'unauthorized' || fault === 'denied') {
      if (this.#source) return failed(detail, this.#renewal());
      const key = keyOf(config, 'credentials');
      // Some token services refuse an anonymous token that names no public repository.
      if (repository !== undefined) return failed(detail, TEXTS.set({ key }));
      return warning(detail, TEXTS.namePublicImage({ key }));
    }
    if (fault === 'bad-response') {
      return failed(detail, TEXTS.portalForTokens);
    }
    return failed(detail, TEXTS.openTokenService);
  }

  #renewal(): string {
    const { config, repository } = this.#parts;
    const right = repository === undefined ? '' : TEXTS.mayPull({ repository });
    return TEXTS.renewCredentials({ key: keyOf(config, 'credentials'), more: right });
  }
}
