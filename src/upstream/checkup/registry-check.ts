import type { QuotaStatus } from '../../api/status-api.ts';
import type { UpstreamConfig } from '../../config/config.ts';
import type { TransportResponse } from '../../net/transport.ts';
import { chooseChallenge, parseChallenges, type Challenge } from '../challenge.ts';
import { readRealm } from '../realm.ts';
import { followRedirect, isRedirect } from '../redirect.ts';
import { judge, printable, readErrorWords, type Verdict } from '../registry-answer.ts';
import { failed, keyOf, ok, skipped, warning, type Outcome } from './finding.ts';

export interface RegistryCheck {
  readonly outcome: Outcome;
  /** The registry asks for a login, and this one can be answered. */
  readonly challenge?: Challenge;
}

const WARN_SECONDS = 60;
const FAIL_SECONDS = 15 * 60;

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

/** The local clock against the `Date` of an answer that came at `now`, milliseconds since 1970. */
export function checkClock(
  headers: Readonly<Record<string, string>> | undefined,
  now: number,
): Outcome {
  if (!headers) return skipped('no answer to compare with');
  const sent = Date.parse(headers['date'] ?? '');
  if (Number.isNaN(sent)) return skipped('the answer has no date');
  // A cache on the way answers with the date of the origin's answer.
  const age = /^\d{1,9}$/.test(headers['age'] ?? '') ? Number(headers['age']) : 0;
  const seconds = Math.round((now - sent) / 1000) - age;
  const size = Math.abs(seconds);
  if (size <= WARN_SECONDS) return ok(`within ${WARN_SECONDS} s of the registry's`);
  const detail = `this machine is ${sayAge(size)} ${seconds > 0 ? 'ahead of' : 'behind'} the registry`;
  const advice =
    'set the clock (NTP): tokens and certificates are refused by the date; check it with timedatectl';
  return size > FAIL_SECONDS ? failed(detail, advice) : warning(detail, advice);
}

function sayAge(seconds: number): string {
  if (seconds < 2 * 60) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** What an account may still pull, as far as the registry tells. */
export function checkQuota(label: string, quota: QuotaStatus, config: UpstreamConfig): Outcome {
  const { limit, remaining, windowSeconds, blockedForSeconds } = quota;
  const window = windowSeconds === undefined ? '' : ` in ${sayWindow(windowSeconds)}`;
  const advice = `wait, or set ${keyOf(config, 'credentials')} of an account with a higher limit`;
  if (remaining === 0) {
    return warning(`${label}: nothing left of ${limit ?? 'an unknown limit'}${window}`, advice);
  }
  if (blockedForSeconds !== undefined) {
    return warning(`${label}: refused (429) for ${blockedForSeconds} s`, advice);
  }
  if (remaining !== undefined) {
    return ok(`${label}: ${remaining} of ${limit ?? 'an unknown limit'} left${window}`);
  }
  if (limit !== undefined) return ok(`${label}: ${limit}${window}, does not tell what is left`);
  return ok(`${label}: tells no limit`);
}

function sayWindow(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}
