import type { UpstreamConfig } from '../../config/config.ts';
import type { TransportResponse } from '../../net/transport.ts';
import { chooseChallenge, parseChallenges, type Challenge } from '../challenge.ts';
import { readRealm } from '../realm.ts';
import { followRedirect, isRedirect } from '../redirect.ts';
import { judge, printable, readErrorWords, type Verdict } from '../registry-answer.ts';
import { failed, keyOf, ok, warning, type Outcome } from './finding.ts';

export interface RegistryCheck {
  readonly outcome: Outcome;
  /** The registry asks for a login, and this one can be answered. */
  readonly challenge?: Challenge;
}

/** Whether `/v2/` answers as a registry, and whether what it asks for can be given. */
export async function checkRegistry(
  config: UpstreamConfig,
  response: TransportResponse,
): Promise<RegistryCheck> {
  const { status, headers, url: registry } = response;
  if (status === 401) {
    await response.dump();
    return checkChallenge(config, response);
  }
  if (isRedirect(status)) {
    await response.dump();
    return { outcome: explainRedirect(config, registry, headers['location']) };
  }
  const verdict = judge({ response, isOwn: true }, { method: 'GET', login: 'to /v2/' });
  if (verdict) {
    const reason = `${verdict.reason}${await readErrorWords(response)}`;
    return { outcome: explainFault({ ...verdict, reason }, config, registry) };
  }
  response.destroy();
  if (status === 404) {
    return {
      outcome: failed(
        `${registry.host} has no /v2/ (404)`,
        `check ${keyOf(config, 'url')}: it is the address in front of /v2/, of a registry and not of its web pages`,
      ),
    };
  }
  return { outcome: ok('/v2/ asks for no login (200)') };
}

function checkChallenge(
  config: UpstreamConfig,
  { url: registry, challenges: lines }: TransportResponse,
): RegistryCheck {
  const challenges = parseChallenges(lines);
  const challenge = chooseChallenge(challenges);
  if (!challenge) {
    const schemes = challenges.map(({ scheme }) => printable(scheme)).join(', ');
    return {
      outcome: failed(
        `/v2/ asks for a login (401) by ${schemes || 'nothing that it names'}`,
        'have the registry offer Bearer or Basic; a proxy in front of it may hide its WWW-Authenticate header',
      ),
    };
  }
  if (challenge.scheme === 'basic') {
    return { outcome: ok('/v2/ asks for a login (401): Basic'), challenge };
  }
  const realm = readRealm(challenge, registry, { withCredentials: config.credentials.length > 0 });
  if (realm === undefined) {
    return {
      outcome: failed(
        '/v2/ asks for a token (401) and names no service for it',
        'set the realm of the token service in the configuration of the registry',
      ),
    };
  }
  if (typeof realm === 'object') {
    return { outcome: ok(`/v2/ asks for a token (401): Bearer, from ${realm.origin}`), challenge };
  }
  return {
    outcome: failed(
      realm,
      `check that ${keyOf(config, 'url')} is the registry itself; if it is, correct the realm in its configuration`,
    ),
  };
}

function explainRedirect(
  config: UpstreamConfig,
  registry: URL,
  location: string | undefined,
): Outcome {
  const target = followRedirect(registry, location);
  const where = typeof target === 'string' ? target : `a redirect to ${target.origin}`;
  return warning(
    `/v2/ is answered with ${where}`,
    `if pulls fail, set ${keyOf(config, 'url')} to the registry itself, or sign this machine in at the portal that redirects it`,
  );
}

function explainFault(
  { fault, reason: detail }: Verdict,
  config: UpstreamConfig,
  registry: URL,
): Outcome {
  if (fault === 'rate-limited') {
    const key = keyOf(config, 'credentials');
    return warning(detail, `wait, and set ${key} of an account with a higher limit`);
  }
  if (fault === 'denied') {
    return failed(
      detail,
      `have the address of this machine admitted by ${registry.host}, or allow it in the firewall on the way`,
    );
  }
  if (fault === 'failing') {
    return failed(detail, `try later, and ask the operator of ${registry.host}`);
  }
  return failed(
    detail,
    `check ${keyOf(config, 'url')}; a portal or proxy on the way may answer in place of the registry`,
  );
}
