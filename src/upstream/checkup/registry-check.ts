import type { QuotaStatus } from '../../api/status-api.ts';
import type { UpstreamConfig } from '../../config/config.ts';
import { HostList } from '../../config/host-list.ts';
import { proxyOf } from '../../config/proxy.ts';
import type { TransportResponse } from '../../net/transport.ts';
import { chooseChallenge, parseChallenges, readRealm } from '../challenge.ts';
import { followRedirect, isRedirect } from '../registry-sender.ts';
import { judge, readErrorMessage, type AnswerFault } from '../registry-answer.ts';
import type { Secrets } from '../secrets.ts';
import {
  failed,
  configKey,
  passed,
  skipped,
  warning,
  type CheckResult,
  causeOf,
} from './check-result.ts';
import { TEXTS } from '../texts.ts';
import type { Digest } from '../../oci/digest.ts';
import { isManifestType } from '../../oci/media-types.ts';
import type { Reference, Repository } from '../../oci/reference.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { PRIORITY, type Demand } from '../demand.ts';
import type { Upstream } from '../upstream.ts';

const WARN_SECONDS = 60;
const FAIL_SECONDS = 15 * 60;

/** Whether `/v2/` answers as a registry, and whether what it asks for can be given. */
export async function checkRegistry(
  config: UpstreamConfig,
  response: TransportResponse,
  secrets: Secrets,
): Promise<CheckResult> {
  const { status, headers, url: registry } = response;
  if (status === 401) {
    await response.dump();
    return checkChallenge(config, response, secrets);
  }
  if (isRedirect(status)) {
    await response.dump();
    return explainRedirect(config, registry, headers['location']);
  }
  const verdict = judge({ response, isOwn: true }, { login: TEXTS.toRegistry });
  if (verdict) {
    const reason = `${verdict.reason}${await readErrorMessage(response, secrets)}`;
    return explainFault({ ...verdict, reason }, config, registry);
  }
  response.destroy();
  if (status !== 404) return passed(TEXTS.noLogin);
  const detail = TEXTS.noRegistry({ host: registry.host });
  return failed(detail, TEXTS.checkUrl({ key: configKey(config, 'url') }));
}

function checkChallenge(
  config: UpstreamConfig,
  { url: registry, challenges: lines }: TransportResponse,
  secrets: Secrets,
): CheckResult {
  const challenges = parseChallenges(lines);
  const challenge = chooseChallenge(challenges);
  if (!challenge) {
    const schemes = challenges.map(({ scheme }) => secrets.tell(scheme)).join(', ');
    return failed(TEXTS.otherLogin({ schemes: schemes || TEXTS.noScheme }), TEXTS.offerLogin);
  }
  if (challenge.scheme === 'basic') return passed(TEXTS.basicLogin);
  const realm = readRealm(challenge, registry, {
    withCredentials: config.credentials.length > 0,
    realms: HostList.of(config, 'realms'),
  });
  if (realm === undefined) return failed(TEXTS.noTokenService, TEXTS.setRealm);
  if (typeof realm === 'object') {
    return passed(TEXTS.bearerLogin({ origin: realm.origin, way: wayTo(realm, config) }));
  }
  return failed(realm, TEXTS.correctRealm({ key: configKey(config, 'url') }));
}

/** A host has a proxy of its own, or none. */
function wayTo(url: URL, config: UpstreamConfig): string {
  const proxy = proxyOf(config, url);
  return proxy === undefined ? '' : TEXTS.throughProxy({ address: new URL(proxy).host });
}

function explainRedirect(
  config: UpstreamConfig,
  registry: URL,
  location: string | undefined,
): CheckResult {
  const target = followRedirect(registry, location);
  const where = typeof target === 'string' ? target : TEXTS.redirectTo({ origin: target.origin });
  return warning(
    TEXTS.redirected({ where }),
    TEXTS.setUrlOrSignIn({ key: configKey(config, 'url') }),
  );
}

function explainFault(
  { fault, reason: detail }: AnswerFault,
  config: UpstreamConfig,
  registry: URL,
): CheckResult {
  if (fault === 'rate-limited') {
    const key = configKey(config, 'credentials');
    return warning(detail, TEXTS.waitAndSetAccount({ key }));
  }
  if (fault === 'denied') {
    return failed(detail, TEXTS.haveAdmitted({ host: registry.host }));
  }
  if (fault === 'failing') {
    return failed(detail, TEXTS.askOperator({ of: registry.host }));
  }
  return failed(detail, TEXTS.checkUrlOrPortal({ key: configKey(config, 'url') }));
}

/** The local clock against the `Date` of an answer that came `at` milliseconds since 1970. */
export function checkClock(
  answer: { readonly headers: Readonly<Record<string, string>>; readonly at: number } | undefined,
): CheckResult {
  if (!answer) return skipped(TEXTS.noAnswer);
  const { headers, at } = answer;
  const sent = Date.parse(headers['date'] ?? '');
  if (Number.isNaN(sent)) return skipped(TEXTS.noDate);
  // A cache on the way answers with the date of the origin's answer.
  const age = /^\d{1,9}$/.test(headers['age'] ?? '') ? Number(headers['age']) : 0;
  const seconds = Math.round((at - sent) / 1000) - age;
  const size = Math.abs(seconds);
  if (size <= WARN_SECONDS) return passed(TEXTS.clockRight({ seconds: WARN_SECONDS }));
  const by = sayAge(size);
  const detail = seconds > 0 ? TEXTS.clockAhead({ by }) : TEXTS.clockBehind({ by });
  const advice = TEXTS.setClockFor;
  return size > FAIL_SECONDS ? failed(detail, advice) : warning(detail, advice);
}

function sayAge(seconds: number): string {
  if (seconds < 2 * 60) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** What an account may still pull, as far as the registry tells. */
export function checkQuota(label: string, quota: QuotaStatus, config: UpstreamConfig): CheckResult {
  const { limit, remaining, windowSeconds, blockedForSeconds } = quota;
  const of = String(limit ?? TEXTS.unknownLimit);
  const window =
    windowSeconds === undefined ? '' : TEXTS.inWindow({ window: sayWindow(windowSeconds) });
  const advice = TEXTS.waitOrSetAccount({ key: configKey(config, 'credentials') });
  if (remaining === 0) {
    return warning(TEXTS.nothingLeft({ label, limit: of, window }), advice);
  }
  if (blockedForSeconds !== undefined) {
    return warning(TEXTS.refusedFor({ label, seconds: blockedForSeconds }), advice);
  }
  if (remaining !== undefined) {
    return passed(TEXTS.left({ label, remaining, limit: of, window }));
  }
  if (limit !== undefined) return passed(TEXTS.leftUntold({ label, limit, window }));
  return passed(TEXTS.noLimit({ label }));
}

function sayWindow(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** An image that an upstream is asked for. */
export interface CheckedImage {
  readonly repository: Repository;
  readonly reference: Reference;
  /** Nobody named it: nothing that may count as a pull is asked for. */
  readonly isDefault?: boolean;
}

interface ImageCheckParts {
  readonly config: UpstreamConfig;
  readonly upstream: Upstream;
  /** The account that asks. */
  readonly label: string;
  readonly signal: AbortSignal;
}

/**
 * A HEAD of the image's manifest, which costs no quota; a GET where the registry has no HEAD. Of an image that
 * was named also its manifest, that of its first platform, and one byte of a blob, which may be in a
 * storage that the mirror is not to dial.
 */
export async function checkImage(
  { repository, reference, isDefault = false }: CheckedImage,
  { config, upstream, label, signal }: ImageCheckParts,
): Promise<CheckResult> {
  const demand = { priority: PRIORITY.interactive, signal };
  const separator = reference.includes(':') ? '@' : ':';
  const who = config.credentials.length > 1 ? TEXTS.asAccount({ label }) : '';
  const image = `${config.name}/${repository}${separator}${reference}${who}`;
  try {
    const head = await upstream.headManifest(repository, reference, demand);
    if (!head) {
      return failed(TEXTS.imageMissing({ image }), TEXTS.checkImageName);
    }
    if (!isDefault) await reachBlob(upstream, { repository, digest: head.digest }, demand);
    return passed(TEXTS.imageThere({ image, digest: `, ${head.digest}` }));
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    return explain(error, { image, repository, config });
  }
}

async function reachBlob(
  upstream: Upstream,
  { repository, digest }: { repository: Repository; digest: Digest },
  demand: Demand,
): Promise<void> {
  const body = await upstream.getManifest(repository, digest, demand);
  body?.release?.();
  const [first] = body?.manifest.successors ?? [];
  if (!first) return;
  if (isManifestType(first.mediaType)) {
    return reachBlob(upstream, { repository, digest: first.digest }, demand);
  }
  const blob = await upstream.getBlob(repository, first.digest, { demand, start: 0, end: 1 });
  blob?.discard();
}

function explain(
  error: UpstreamError,
  { image, repository, config }: { image: string; repository: string; config: UpstreamConfig },
): CheckResult {
  const detail = TEXTS.faultOf({ of: image, reason: causeOf(error, config.name) });
  const key = configKey(config, 'credentials');
  switch (error.fault) {
    case 'unauthorized':
    case 'denied':
      return config.credentials.length > 0
        ? failed(detail, TEXTS.giveRight({ key, repository }))
        : failed(detail, TEXTS.setIfPrivate({ key, repository }));
    case 'rate-limited':
      return warning(detail, TEXTS.waitOrSetAccount({ key }));
    case 'refused':
    case 'bad-response':
      return detail.includes(configKey(config, 'storage'))
        ? failed(detail, TEXTS.storageElsewhere)
        : failed(detail, TEXTS.portalForRegistry);
    case 'offline':
    case 'unreachable':
    case 'timeout':
    case 'failing':
      return failed(detail, TEXTS.askOperator({ of: config.name }));
  }
}
