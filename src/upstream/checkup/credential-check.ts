import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig, UpstreamConfig } from '../../config/config.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { Authenticator, type Proof } from '../authenticator.ts';
import type { Challenge } from '../challenge.ts';
import type { CredentialSource } from '../credentials/credential.ts';
import { openCredentials } from '../credentials/open-credentials.ts';
import type { Sender } from '../../net/transport.ts';
import { failed, keyOf, ok, reasonOf, skipped, warning, type Outcome } from './finding.ts';

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

/** Whether a credential, or nobody in particular, is let in as far as can be told without a pull. */
export async function checkCredential(
  entry: CredentialsConfig | undefined,
  parts: CredentialCheckParts,
): Promise<Outcome> {
  const { config, challenge } = parts;
  let source: CredentialSource | undefined;
  try {
    source = entry && openCredentials(entry, { ...parts, upstream: config.name });
    // An issued one is fetched here, so that its provider is known to be what failed.
    await source?.get();
  } catch (error) {
    return failed(
      `${entry?.provider} issued no credential: ${reasonOf(error, config.name)}`,
      `check ${keyOf(config, 'credentials')} and what the provider needs on this machine (its role, key or program)`,
    );
  }
  if (challenge) return new Proving(parts, source).prove(challenge);
  if (!source) return ok('none is asked for');
  const login = `${source.label}: the registry asked for no login`;
  return skipped(login, 'whether it is taken shows with a private image: name one');
}

/** How one credential does against one challenge. */
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
      return ok(`${this.#label}: accepted by the token service ${host}`);
    } catch (error) {
      return this.#explain(error);
    }
  }

  /** What goes to the registry as it is, only the registry can judge. */
  async #show({ authorization }: Proof): Promise<Outcome> {
    const { config, registry: url, sender, signal } = this.#parts;
    const headers = { accept: 'application/json', authorization };
    const response = await sender.send({ method: 'GET', url, headers, signal });
    await response.dump();
    const { status } = response;
    if (status === 200) return ok(`${this.#label}: accepted by ${url.host}`);
    const detail = `${this.#label}: ${url.host} answered ${status}`;
    const isRefused = status === 401 || status === 403;
    return failed(detail, isRefused ? this.#renewal() : `ask the operator of ${config.name}`);
  }

  #explain(error: unknown): Outcome {
    const { config, repository } = this.#parts;
    const detail = `${this.#label}: ${reasonOf(error, config.name)}`;
    const fault = error instanceof UpstreamError ? error.fault : undefined;
    if (fault === 'unauthorized' || fault === 'denied') {
      if (this.#source) return failed(detail, this.#renewal());
      const key = keyOf(config, 'credentials');
      // Some give a token only for a repository that everybody may pull.
      if (repository !== undefined) return failed(detail, `set ${key}`);
      return warning(detail, `name a public image to try with, or set ${key}`);
    }
    if (fault === 'bad-response') {
      return failed(
        detail,
        'a portal or proxy on the way may answer in place of the token service',
      );
    }
    return failed(detail, 'open the way to the token service in the firewall, or try later');
  }

  #renewal(): string {
    const { config, repository } = this.#parts;
    const right = repository === undefined ? '' : ` and may pull ${repository}`;
    return `correct or renew ${keyOf(config, 'credentials')}; check that the account is not locked${right}`;
  }
}
