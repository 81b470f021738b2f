import type { Clock } from '../../time/clock.ts';
import type { CredentialsConfig, UpstreamConfig } from '../../config/config.ts';
import { HostList } from '../../config/host-list.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { Authenticator, type ChallengeAnswer } from '../authenticator.ts';
import type { Challenge } from '../challenge.ts';
import type { CredentialSource } from '../credentials/credential.ts';
import { openCredentials } from '../credentials/open-credentials.ts';
import type { Log } from '../../observe/log.ts';
import type { Timing } from '../../net/timing.ts';
import type { Sender } from '../../net/transport.ts';
import { ChallengeProbe } from '../challenge-probe.ts';
import {
  failed,
  configKey,
  passed,
  causeOf,
  skipped,
  warning,
  type CheckResult,
} from './check-result.ts';
import type { Secrets } from '../secrets.ts';
import { TEXTS } from '../texts.ts';

export interface CredentialCheckParts {
  readonly config: UpstreamConfig;
  readonly registry: URL;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly timing: Timing;
  readonly secrets: Secrets;
  readonly log: Log;
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
): Promise<CheckResult> {
  const { config, challenge } = parts;
  let source: CredentialSource | undefined;
  try {
    source = entry && openCredentials(entry, { ...parts, upstream: config.name });
    // An issued credential is fetched here, so that a failure is known to be its provider's.
    await source?.get();
  } catch (error) {
    return failed(
      TEXTS.noIssue({ provider: entry?.provider ?? '', reason: causeOf(error, config.name) }),
      TEXTS.checkProvider({ key: configKey(config, 'credentials') }),
    );
  }
  if (!challenge) {
    if (!source) return passed(TEXTS.noneAsked);
    return skipped(TEXTS.loginNotAsked({ label: source.label }), TEXTS.namePrivateImage);
  }
  try {
    return await answerChallenge(challenge, source, parts);
  } catch (error) {
    return explain(error, source, parts);
  }
}

async function answerChallenge(
  challenge: Challenge,
  source: CredentialSource | undefined,
  parts: CredentialCheckParts,
): Promise<CheckResult> {
  const { config, repository } = parts;
  const own = challenge.parameters['scope'] ?? '';
  const scope = repository === undefined ? own : `repository:${repository}:pull`;
  const authenticator = new Authenticator({
    ...parts,
    upstream: config.name,
    realms: HostList.of(config, 'realms'),
    credentials: source,
    challengeProbe: new ChallengeProbe(parts),
  });
  const proof = await authenticator.answer(challenge, scope);
  const label = source?.label ?? 'anonymous';
  if (!proof.token) return showProof(proof, label, parts);
  const { host } = new URL(challenge.parameters['realm'] ?? '');
  return passed(TEXTS.tokenAccepted({ label, host }));
}

/** A password or bearer token that no token service exchanges is tried at the registry. */
async function showProof(
  { authorization }: ChallengeAnswer,
  label: string,
  parts: CredentialCheckParts,
): Promise<CheckResult> {
  const { config, registry: url, sender, signal } = parts;
  const headers = { accept: 'application/json', authorization };
  const response = await sender.send({ method: 'GET', url, headers, signal });
  await response.dump();
  const { status } = response;
  if (status === 200) return passed(TEXTS.accepted({ label, host: url.host }));
  const detail = TEXTS.loginAnswered({ label, host: url.host, status });
  const isRefused = status === 401 || status === 403;
  return failed(detail, isRefused ? renewal(parts) : TEXTS.askOperatorOnly({ of: config.name }));
}

function explain(
  error: unknown,
  source: CredentialSource | undefined,
  parts: CredentialCheckParts,
): CheckResult {
  const { config, repository } = parts;
  const of = source?.label ?? 'anonymous';
  const detail = TEXTS.faultOf({ of, reason: causeOf(error, config.name) });
  const fault = error instanceof UpstreamError ? error.fault : undefined;
  if (fault === 'bad-response') return failed(detail, TEXTS.portalForTokens);
  if (fault !== 'unauthorized' && fault !== 'denied') return failed(detail, TEXTS.openTokenService);
  if (source) return failed(detail, renewal(parts));
  const key = configKey(config, 'credentials');
  // Some token services refuse an anonymous token that names no public repository.
  if (repository !== undefined) return failed(detail, TEXTS.set({ key }));
  return warning(detail, TEXTS.namePublicImage({ key }));
}

function renewal({ config, repository }: CredentialCheckParts): string {
  const more = repository === undefined ? '' : TEXTS.mayPull({ repository });
  return TEXTS.renewCredentials({ key: configKey(config, 'credentials'), more });
}
