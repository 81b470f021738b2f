import type { Clock } from '../../time/clock.ts';
import type { UpstreamConfig } from '../../config/config.ts';
import type { UpstreamError } from '../../oci/upstream-error.ts';
import { parseChallenges, type Challenge } from '../challenge.ts';
import { refuseRealm } from '../realm.ts';
import { followRedirect, isRedirect } from '../redirect.ts';
import { findFault, single } from '../registry-answer.ts';
import type { Sender, TransportResponse } from '../../net/transport.ts';
import { failed, ok, printable, warning, type Outcome } from './finding.ts';
import { keyOf } from './subject.ts';

export interface RegistryCheck {
  readonly outcome: Outcome;
  /** The registry asks for a login, and this one can be answered. */
  readonly challenge?: Challenge;
}

/** Whether `/v2/` answers as a registry, and whether what it asks for can be given. */
export async function checkRegistry(
  config: UpstreamConfig,
  response: TransportResponse,
  { registry, sender, clock }: { registry: URL; sender: Sender; clock: Clock },
): Promise<RegistryCheck> {
  const { statusCode: status, headers } = response;
  if (status === 401) {
    await response.body.dump();
    return readChallenge(config, registry, headers['www-authenticate']);
  }
  if (isRedirect(status)) {
    await response.body.dump();
    return { outcome: explainRedirect(config, registry, single(headers['location'])) };
  }
  const answer = { response, url: registry, method: 'GET' } as const;
  const judge = {
    upstream: config.name,
    registry,
    login: 'to /v2/',
    sender,
    clock,
    // Nobody waits here, and a GET has said its words.
    waitMs: () => 0,
    readWords: async () => response,
  };
  const fault = await findFault(answer, judge);
  if (fault) return { outcome: explainFault(fault, config, registry) };
  if (status === 404) {
    return {
      outcome: failed(
        `${registry.host} has no /v2/ (404)`,
        `check ${keyOf(config, 'url')}: it is the address in front of /v2/, of a registry and not of its web pages`,
      ),
    };
  }
  response.body.destroy();
  return { outcome: ok('/v2/ asks for no login (200)') };
}

function readChallenge(
  config: UpstreamConfig,
  registry: URL,
  header: string | string[] | undefined,
): RegistryCheck {
  const challenges = parseChallenges(header);
  const challenge =
    challenges.find(({ scheme }) => scheme === 'bearer') ??
    challenges.find(({ scheme }) => scheme === 'basic');
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
  const { realm } = challenge.parameters;
  const url = realm === undefined ? null : URL.parse(realm);
  if (!url) {
    return {
      outcome: failed(
        '/v2/ asks for a token (401) and names no service for it',
        'set the realm of the token service in the configuration of the registry',
      ),
    };
  }
  const refusal = refuseRealm(url, registry, { withCredentials: config.credentials.length > 0 });
  if (refusal === undefined) {
    return { outcome: ok(`/v2/ asks for a token (401): Bearer, from ${url.origin}`), challenge };
  }
  return {
    outcome: failed(
      refusal,
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

function explainFault(fault: UpstreamError, config: UpstreamConfig, registry: URL): Outcome {
  const detail = fault.message.replace(`${config.name}: `, '');
  if (fault.fault === 'rate-limited') {
    const key = keyOf(config, 'credentials');
    return warning(detail, `wait, and set ${key} of an account with a higher limit`);
  }
  if (fault.fault === 'denied') {
    return failed(
      detail,
      `have the address of this machine admitted by ${registry.host}, or allow it in the firewall on the way`,
    );
  }
  if (fault.fault === 'failing') {
    return failed(detail, `try later, and ask the operator of ${registry.host}`);
  }
  return failed(
    detail,
    `check ${keyOf(config, 'url')}; a portal or proxy on the way may answer in place of the registry`,
  );
}
