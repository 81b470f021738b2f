import type { CredentialsConfig, UpstreamConfig } from '../../config/config.ts';
import { UpstreamError } from '../../oci/upstream-error.ts';
import type { Challenge } from '../challenge.ts';
import { HttpUpstream } from '../http-upstream.ts';
import { Quota } from '../quota.ts';
import type { RegistrySenderParts } from '../registry-sender.ts';
import type { Connection } from '../../net/connection.ts';
import { Transport } from '../../net/transport.ts';
import { checkConnection, checkName } from './connection-check.ts';
import { checkCredential } from './credential-check.ts';
import type { CheckName, Finding } from '../../api/doctor-api.ts';
import { failed, keyOf, reasonOf, skipped, type Outcome } from './finding.ts';
import { checkImage, type WantedImage } from './image-check.ts';
import { checkClock, checkQuota, checkRegistry } from './registry-check.ts';
import { checkTls } from './tls-check.ts';
import { TEXTS } from '../texts.ts';

export interface CheckupParts extends RegistrySenderParts {
  /** To ask for; the first one is what a token is asked for. */
  readonly images: readonly WantedImage[];
  /** For all checks together. */
  readonly budgetMs: number;
  /** Calls `expire` when the time is over; what it returns stops it. */
  readonly startTimer: (expire: () => void, ms: number) => () => void;
}

/** A configured credential, or none, and what was found of it. */
interface Account {
  readonly entry: CredentialsConfig | undefined;
  readonly label: string;
  readonly isRefused: boolean;
}

const NOT_REACHED = skipped(TEXTS.notReached);
const NAME_ONE = TEXTS.nameAnImage;

/** Examines one upstream from its name to an image. A check that fails ends those that need it. */
export class Checkup {
  readonly #parts: CheckupParts;
  readonly #registry: URL;
  readonly #transport: Transport;
  readonly #deadline = new AbortController();
  readonly #findings: Finding[] = [];
  #connection: Connection | undefined;
  #challenge: Challenge | undefined;
  #answer: { readonly headers: Readonly<Record<string, string>>; readonly at: number } | undefined;

  constructor(parts: CheckupParts) {
    // A failure is reported at once: no request is repeated.
    this.#parts = { ...parts, timing: { ...parts.timing, attemptsMs: 0 } };
    this.#registry = new URL(`${parts.config.url}/v2/`);
    this.#transport = new Transport(parts.config, parts.timing);
  }

  get #signal(): AbortSignal {
    return this.#deadline.signal;
  }

  /** Never rejects because of the upstream. */
  async run(): Promise<readonly Finding[]> {
    const { startTimer, budgetMs } = this.#parts;
    const stopTimer = startTimer(() => this.#deadline.abort(), budgetMs);
    try {
      const isRegistry = await this.#reach();
      const accounts = isRegistry ? await this.#logIn() : this.#skip('credential');
      const seen = accounts && (await this.#look(accounts));
      if (!seen) this.#skip('quota');
      const { headers, at } = this.#answer ?? {};
      this.#add('clock', checkClock(headers, at ?? 0));
      if (!seen) this.#skip('image');
      this.#findings.push(...(seen ?? []));
      return this.#findings;
    } finally {
      stopTimer();
      await this.#connection?.[Symbol.asyncDispose]();
      await this.#transport.close();
    }
  }

  /** True when a registry answers. */
  async #reach(): Promise<boolean> {
    const steps: [CheckName, () => Promise<Outcome>][] = [
      ['name', async () => checkName(this.#parts.config)],
      ['connection', async () => this.#connect()],
      ['tls', async () => this.#secure()],
      ['registry', async () => this.#ping()],
    ];
    let isBlocked = false;
    for (const [check, step] of steps) {
      const outcome: Outcome = isBlocked ? NOT_REACHED : await this.#within(step);
      this.#add(check, outcome);
      isBlocked ||= outcome.state === 'failed';
    }
    return !isBlocked;
  }

  async #connect(): Promise<Outcome> {
    const { config, timing } = this.#parts;
    const options = { timing, signal: this.#signal };
    const { outcome, connection } = await checkConnection(config, options);
    this.#connection = connection;
    return outcome;
  }

  async #secure(): Promise<Outcome> {
    const { config, clock, timing } = this.#parts;
    if (!config.url.startsWith('https:')) return skipped(TEXTS.plainHttp);
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(timing.connectMs)]);
    if (!this.#connection) return NOT_REACHED;
    return checkTls(config, this.#connection.socket, { signal, clock });
  }

  async #ping(): Promise<Outcome> {
    const { config, userAgent, clock } = this.#parts;
    const response = await this.#transport.send({
      method: 'GET',
      url: this.#registry,
      headers: { accept: 'application/json', 'user-agent': userAgent },
      signal: this.#signal,
    });
    this.#answer = { headers: response.headers, at: clock.wall() };
    const { outcome, challenge } = await checkRegistry(config, response);
    this.#challenge = challenge;
    return outcome;
  }

  async #logIn(): Promise<Account[]> {
    const { config, images } = this.#parts;
    const entries = config.credentials.length > 0 ? config.credentials : [undefined];
    const accounts: Account[] = [];
    const prefix = config.prefix === undefined ? '' : `${config.prefix}/`;
    const repository = images[0] && `${prefix}${images[0].repository}`;
    for (const entry of entries) {
      const outcome = await this.#within(async () =>
        checkCredential(entry, {
          ...this.#parts,
          registry: this.#registry,
          sender: this.#transport,
          challenge: this.#challenge,
          repository,
          signal: this.#signal,
        }),
      );
      this.#add('credential', outcome);
      accounts.push({ entry, label: labelOf(entry), isRefused: outcome.state === 'failed' });
    }
    return accounts;
  }

  /** Asks for the images, which also shows the quota; resolves with what is to be said of them. */
  async #look(accounts: readonly Account[]): Promise<Finding[]> {
    const { config, images, clock } = this.#parts;
    const found: Finding[] = [];
    for (const account of accounts) {
      if (images.length === 0) {
        const quota = new Quota(clock);
        quota.observe(this.#answer?.headers ?? {});
        const { limit, remaining } = quota.status;
        const isTold = limit !== undefined || remaining !== undefined;
        const untold = skipped(TEXTS.toldWithImages, NAME_ONE);
        this.#add('quota', isTold ? checkQuota(account.label, quota.status, config) : untold);
      } else if (account.isRefused) {
        this.#skip('quota');
        found.push({ check: 'image', ...NOT_REACHED });
      } else found.push(...(await this.#lookAs(account)));
    }
    return images.length > 0 ? found : [{ check: 'image', ...skipped(TEXTS.noneNamed, NAME_ONE) }];
  }

  async #lookAs({ entry, label }: Account): Promise<Finding[]> {
    const config = { ...this.#parts.config, credentials: entry ? [entry] : [] };
    const upstream = new HttpUpstream({ ...this.#parts, config });
    const found: Finding[] = [];
    try {
      for (const image of this.#parts.images) {
        const parts = { config: this.#parts.config, upstream, label, signal: this.#signal };
        found.push({
          check: 'image',
          ...(await this.#within(async () => checkImage(image, parts))),
        });
      }
      const [quota = {}] = upstream.status.accounts;
      this.#add('quota', checkQuota(label, quota, this.#parts.config));
      return found;
    } finally {
      await upstream.close();
    }
  }

  /** What the check finds, or why it could not be made. */
  async #within(check: () => Promise<Outcome>): Promise<Outcome> {
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

  #explain(error: unknown): Outcome {
    const { config, budgetMs } = this.#parts;
    if (this.#signal.aborted && error === this.#signal.reason) {
      return failed(TEXTS.outOfTime({ seconds: budgetMs / 1000 }), TEXTS.findDroppingFirewall);
    }
    const detail = reasonOf(error, config.name);
    const isTimeout = error instanceof UpstreamError && error.fault === 'timeout';
    return isTimeout ? failed(detail, TEXTS.findHoldingProxy) : failed(detail, adviseOn(config));
  }

  #skip(check: CheckName): undefined {
    this.#add(check, NOT_REACHED);
  }

  #add(check: CheckName, outcome: Outcome): void {
    this.#findings.push({ check, ...outcome });
  }
}

/** What to do when a connection opens and brings no answer. */
function adviseOn(config: UpstreamConfig): string {
  const way = TEXTS.findCuttingProxy;
  if (config.url.startsWith('http:')) {
    return TEXTS.writeHttps({ key: keyOf(config, 'url'), way });
  }
  // TLS 1.3 tells of a missing client certificate only by closing in place of the first answer.
  const key = keyOf(config, 'tls.cert');
  return TEXTS.setClientCertificateElse({ key, way });
}

/** For the operator, without a secret. */
function labelOf(entry: CredentialsConfig | undefined): string {
  if (!entry) return 'anonymous';
  return entry.provider === 'password' ? entry.username : entry.provider;
}
