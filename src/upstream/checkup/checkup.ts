import PQueue from 'p-queue';
import packageJson from '../../../package.json' with { type: 'json' };
import type { CredentialsConfig, UpstreamConfig, Config } from '../../config/config.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import { chooseChallenge, parseChallenges, type Challenge } from '../challenge.ts';
import { HttpUpstream } from '../http-upstream.ts';
import { Quota } from '../quota.ts';
import type { RegistrySenderParts } from '../registry-sender.ts';
import type { Connection } from '../../net/connection.ts';
import { Transport } from '../../net/transport.ts';
import { checkConnection, checkName, checkTls } from './connection-check.ts';
import { checkCredential } from './credential-check.ts';
import type { CheckName, Finding, UpstreamReport } from '../../api/status-api.ts';
import { failed, configKey, causeOf, skipped, type CheckResult } from './check-result.ts';
import {
  checkClock,
  checkQuota,
  checkRegistry,
  checkImage,
  type CheckedImage,
} from './registry-check.ts';
import { Secrets } from '../secrets.ts';
import { TEXTS } from '../texts.ts';
import { Authorities } from '../../net/authorities.ts';
import { DEFAULT_TIMING, type Timing } from '../../net/timing.ts';
import { Via } from '../../net/via.ts';
import { createLog } from '../../observe/log.ts';
import { Metrics } from '../../observe/metrics.ts';
import { SYSTEM_CLOCK } from '../../time/clock.ts';

interface CheckupParts extends RegistrySenderParts {
  /** To ask for; the first one is what a token is asked for. */
  readonly images: readonly CheckedImage[];
  /** For all checks together. */
  readonly budgetMs: number;
  /** Calls `expire` when the time is over; what it returns stops it. */
  readonly startTimer: (expire: () => void, ms: number) => () => void;
}

export interface CheckupOptions {
  readonly timing?: Timing;
  /** Counts the most that one upstream may take. */
  readonly startTimer?: CheckupParts['startTimer'];
}

const BUDGET_MS = 15_000;
const AT_A_TIME = 4;

const OFFLINE: Finding = { check: 'offline', ...skipped(TEXTS.checkOffline) };

/**
 * Examines the upstreams, several at a time, and yields what it finds in the order of the
 * configuration. The images are those to ask for, by upstream.
 */
export async function* examineUpstreams(
  config: Pick<Config, 'upstreams' | 'offline'>,
  images: ReadonlyMap<string, readonly CheckedImage[]>,
  options: CheckupOptions = {},
): AsyncGenerator<UpstreamReport> {
  const parts = {
    timing: DEFAULT_TIMING,
    clock: SYSTEM_CLOCK,
    startTimer: startRealTimer,
    ...options,
    budgetMs: BUDGET_MS,
    metrics: new Metrics(),
    log: createLog({ level: 'silent' }),
    userAgent: `entrepot/${packageJson.version}`,
    via: new Via(),
    authorities: new Authorities({ failed: () => {}, renewed: () => {} }),
  };
  const queue = new PQueue({ concurrency: AT_A_TIME });
  const reports = Object.values(config.upstreams).map((upstream) => ({
    name: upstream.name,
    url: upstream.url,
    checks: queue.add(async () => {
      if (config.offline) return [OFFLINE];
      const wanted = images.get(upstream.name) ?? [];
      return new Checkup({ ...parts, config: upstream, images: wanted }).run();
    }),
  }));
  for (const { checks, ...report } of reports) yield { ...report, checks: await checks };
}

function startRealTimer(expire: () => void, ms: number): () => void {
  const timer = setTimeout(expire, ms);
  return () => clearTimeout(timer);
}

/** A configured credential, or none, and what was found of it. */
interface CheckedAccount {
  readonly entry: CredentialsConfig | undefined;
  /** For the operator, without a secret. */
  readonly label: string;
  readonly isRefused: boolean;
}

const NOT_REACHED = skipped(TEXTS.notReached);

/** Examines one upstream from its name to an image. A check that fails ends those that need it. */
class Checkup {
  readonly #parts: CheckupParts;
  readonly #transport: Transport;
  readonly #deadline = new AbortController();
  readonly #signal = this.#deadline.signal;
  readonly #findings: Finding[] = [];
  /** The secrets of all accounts, which no finding shows. */
  readonly #secrets = new Secrets();
  #connection: Connection | undefined;
  #challenge: Challenge | undefined;
  #answer: { readonly headers: Readonly<Record<string, string>>; readonly at: number } | undefined;

  constructor(parts: CheckupParts) {
    // A failure is reported at once: no request is repeated.
    this.#parts = { ...parts, timing: { ...parts.timing, attemptsMs: 0 } };
    this.#transport = new Transport(parts);
  }

  /** Never rejects because of the upstream. */
  async run(): Promise<readonly Finding[]> {
    const { startTimer, budgetMs, images } = this.#parts;
    const stopTimer = startTimer(() => this.#deadline.abort(), budgetMs);
    try {
      const isRegistry = await this.#checkWay();
      const accounts = isRegistry ? await this.#checkCredentials() : [];
      if (!isRegistry) this.#add('credential', NOT_REACHED);
      const asked = [];
      for (const account of accounts) asked.push(await this.#checkImages(account));
      if (!isRegistry) asked.push({ quota: NOT_REACHED, images: [NOT_REACHED] });
      for (const { quota } of asked) this.#add('quota', quota);
      this.#add('clock', checkClock(this.#answer));
      const isUnnamed = isRegistry && images.length === 0;
      if (isUnnamed) this.#add('image', skipped(TEXTS.noneNamed, TEXTS.nameAnImage));
      for (const image of asked.flatMap((each) => each.images)) this.#add('image', image);
      return this.#findings;
    } finally {
      stopTimer();
      await this.#connection?.[Symbol.asyncDispose]();
      await this.#transport.close();
    }
  }

  /** From the name to the answer of the registry; true when a registry answers. */
  async #checkWay(): Promise<boolean> {
    const { config } = this.#parts;
    const checks: [CheckName, () => Promise<CheckResult>][] = [
      ['name', async () => checkName(config)],
      ['connection', async () => this.#checkConnection()],
      ['tls', async () => this.#checkTls()],
      ['registry', async () => this.#checkRegistry()],
    ];
    let isBlocked = false;
    for (const [name, check] of checks) {
      const result: CheckResult = isBlocked ? NOT_REACHED : await this.#within(check);
      this.#add(name, result);
      isBlocked ||= result.state === 'failed';
    }
    return !isBlocked;
  }

  async #checkConnection(): Promise<CheckResult> {
    const { config, timing } = this.#parts;
    const { result, connection } = await checkConnection(config, { timing, signal: this.#signal });
    this.#connection = connection;
    return result;
  }

  async #checkTls(): Promise<CheckResult> {
    const { config, clock, timing } = this.#parts;
    if (!config.url.startsWith('https:')) return skipped(TEXTS.plainHttp);
    if (!this.#connection) return NOT_REACHED;
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(timing.connectMs)]);
    const secureContext = this.#transport.trust.contexts.of('registry');
    return checkTls(config, this.#connection.socket, { signal, clock, secureContext });
  }

  async #checkRegistry(): Promise<CheckResult> {
    const { config, userAgent, clock } = this.#parts;
    const response = await this.#transport.send({
      method: 'GET',
      url: registryOf(config),
      headers: { accept: 'application/json', 'user-agent': userAgent },
      signal: this.#signal,
    });
    this.#answer = { headers: response.headers, at: clock.wall() };
    if (response.status === 401) {
      this.#challenge = chooseChallenge(parseChallenges(response.challenges));
    }
    return checkRegistry(config, response, this.#secrets);
  }

  async #checkCredentials(): Promise<CheckedAccount[]> {
    const { config, images } = this.#parts;
    const prefix = config.prefix === undefined ? '' : `${config.prefix}/`;
    const parts = {
      ...this.#parts,
      registry: registryOf(config),
      sender: this.#transport,
      challenge: this.#challenge,
      repository: images[0] && `${prefix}${images[0].repository}`,
      secrets: this.#secrets,
      signal: this.#signal,
    };
    const accounts: CheckedAccount[] = [];
    for (const entry of config.credentials.length > 0 ? config.credentials : [undefined]) {
      const result = await this.#within(async () => checkCredential(entry, parts));
      this.#add('credential', result);
      const label = entry?.provider === 'password' ? entry.username : entry?.provider;
      accounts.push({ entry, label: label ?? 'anonymous', isRefused: result.state === 'failed' });
    }
    return accounts;
  }

  /** Asks for the images, which also shows the quota. */
  async #checkImages({
    entry,
    label,
    isRefused,
  }: CheckedAccount): Promise<{ quota: CheckResult; images: CheckResult[] }> {
    const { config, images } = this.#parts;
    if (images.length === 0) return { quota: this.#readQuota(label), images: [] };
    if (isRefused) return { quota: NOT_REACHED, images: [NOT_REACHED] };
    const credentials = entry ? [entry] : [];
    const upstream = new HttpUpstream({ ...this.#parts, config: { ...config, credentials } });
    const parts = { config, upstream, label, signal: this.#signal };
    const found: CheckResult[] = [];
    try {
      for (const image of images) {
        found.push(await this.#within(async () => checkImage(image, parts)));
      }
      const [quota = {}] = upstream.status.accounts;
      return { quota: checkQuota(label, quota, config), images: found };
    } finally {
      await upstream.close();
    }
  }

  /** The quota as far as the first answer tells it. */
  #readQuota(label: string): CheckResult {
    const { config, clock } = this.#parts;
    const quota = new Quota(clock);
    quota.observe(this.#answer?.headers ?? {});
    const { limit, remaining } = quota.status;
    if (limit === undefined && remaining === undefined) {
      return skipped(TEXTS.toldWithImages, TEXTS.nameAnImage);
    }
    return checkQuota(label, quota.status, config);
  }

  /** What the check finds, or why it could not be made. */
  async #within(check: () => Promise<CheckResult>): Promise<CheckResult> {
    const signal = this.#signal;
    if (signal.aborted) return skipped(TEXTS.noTimeLeft);
    const { promise, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([check(), promise]);
    } catch (error) {
      return this.#explain(error);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #explain(error: unknown): CheckResult {
    const { config, budgetMs } = this.#parts;
    if (this.#signal.aborted && error === this.#signal.reason) {
      return failed(TEXTS.outOfTime({ seconds: budgetMs / 1000 }), TEXTS.findDroppingFirewall);
    }
    const detail = causeOf(error, config.name);
    const isTimeout = error instanceof UpstreamError && error.fault === 'timeout';
    return isTimeout ? failed(detail, TEXTS.findHoldingProxy) : failed(detail, adviseOn(config));
  }

  #add(check: CheckName, result: CheckResult): void {
    const detail = this.#secrets.redactOwn(result.detail);
    this.#findings.push({ check, ...result, detail });
  }
}

/** What to do when a connection opens and brings no answer. */
function adviseOn(config: UpstreamConfig): string {
  const way = TEXTS.findCuttingProxy;
  if (config.url.startsWith('http:')) {
    return TEXTS.writeHttps({ key: configKey(config, 'url'), way });
  }
  // TLS 1.3 tells of a missing client certificate only by closing in place of the first answer.
  const key = configKey(config, 'tls.cert');
  return TEXTS.setClientCertificateElse({ key, way });
}

function registryOf({ url }: UpstreamConfig): URL {
  return new URL(`${url}/v2/`);
}
