import { setTimeout as sleep } from 'node:timers/promises';
import type { AccountStatus } from '../api/status-api.ts';
import { readDocument } from '../net/content-coding.ts';
import { LargeDocuments, SMALL_BYTES } from '../net/exchange.ts';
import { pausesOf } from '../net/timing.ts';
import type { TransportResponse } from '../net/transport.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import { Account } from './account.ts';
import { Accounts } from './accounts.ts';
import { Authenticator } from './authenticator.ts';
import { Bandwidth } from './bandwidth.ts';
import type { UpstreamProblem } from './breaker.ts';
import { purposeOf } from './demand.ts';
import { RedirectLogins } from './redirect-logins.ts';
import { openCredentials } from './credentials/open-credentials.ts';
import { ChallengeProbe } from './challenge-probe.ts';
import { judge, parseRetryAfter, readErrorMessage } from './registry-answer.ts';
import {
  RegistrySender,
  type RegistryAnswer,
  type RegistryRequest,
  type RegistrySenderParts,
} from './registry-sender.ts';
import { Secrets } from './secrets.ts';
import { TEXTS } from './texts.ts';

/** An answer with status 200, 206 or 404; every other status is thrown. */
export interface RegistryResponse extends Pick<
  TransportResponse,
  'status' | 'headers' | 'url' | 'codings'
> {
  /** Must be read, or the response discarded, to free the connection. */
  readonly chunks: AsyncIterable<Buffer>;
  /** It calls itself a page: thrown by whoever does not know its bytes to be right. */
  readonly page?: UpstreamError;
  discard(): void;
}

export interface SmallResponse extends Pick<
  RegistryResponse,
  'status' | 'headers' | 'url' | 'page'
> {
  /** Without its encoding. `undefined` when it is longer than was allowed, and with a 404. */
  readonly bytes: Buffer | undefined;
  /** Call it when the bytes are needed no more: until then a long answer has a place in memory. */
  readonly release: () => void;
}

const MAX_ATTEMPTS = 3;

/**
 * Requests to one registry: by an account with quota left, again when the registry or the way to it
 * fails, with a fault that says what is wrong.
 */
export class RegistryClient {
  /** Whatever the other side says is told without them. */
  readonly secrets = new Secrets();
  readonly #parts: RegistrySenderParts;
  readonly #sender: RegistrySender;
  readonly #accounts: Accounts;
  readonly #bandwidth: Bandwidth | undefined;
  readonly #large = new LargeDocuments();
  /** By the label of the account; milliseconds since 1970. */
  readonly #credentialEnds = new Map<string, number>();
  /** A login was refused, or taken after that. */
  #hasTurned = false;

  constructor(parts: RegistrySenderParts) {
    const { config, clock, timing, log, metrics } = parts;
    this.#parts = parts;
    const sender = new RegistrySender(parts, this.secrets);
    this.#sender = sender;
    const { base: registry } = sender;
    const { closing } = sender.transport;
    const { secrets } = this;
    const upstream = config.name;
    const asked = (isGiven: boolean): void =>
      metrics.tokenRequests.inc({ upstream, result: isGiven ? 'ok' : 'failed' });
    const ending = (label: string, at: number): void => void this.#credentialEnds.set(label, at);
    const opened = { upstream, registry, sender, clock, secrets, closing, timing, asked, ending };
    const context = { ...opened, log, challengeProbe: new ChallengeProbe(opened) };
    const redirectLogins = new RedirectLogins({
      ...opened,
      realms: sender.realms,
      gateway: registry,
    });
    const sources = config.credentials.map((entry) => openCredentials(entry, context));
    const accounts = (sources.length > 0 ? sources : [undefined]).map((credentials) => {
      const authenticator = new Authenticator({ ...context, realms: sender.realms, credentials });
      const turned = this.#tellLogin;
      return new Account({ sender, redirectLogins, authenticator, clock, secrets, turned });
    });
    this.#accounts = new Accounts(config.name, accounts, clock);
    this.#bandwidth =
      config.bytesPerSecond === undefined ? undefined : new Bandwidth(config.bytesPerSecond);
  }

  get base(): URL {
    return this.#sender.base;
  }

  get problem(): UpstreamProblem | undefined {
    return this.#sender.problem;
  }

  get hasAnswered(): boolean {
    return this.#sender.breaker.hasAnswered;
  }

  async isSilent(): Promise<boolean> {
    return this.#sender.breaker.isSilent();
  }

  watch(): (reason: string) => void {
    return this.#sender.breaker.watch();
  }

  get accounts(): AccountStatus[] {
    return this.#accounts.status;
  }

  readonly #tellLogin = ({ label: account, refused }: Account): void => {
    const { config, log } = this.#parts;
    const upstream = config.name;
    if (refused) log.warn({ upstream, account, reason: refused.reason }, TEXTS.loginRefused);
    else log.info({ upstream, account }, TEXTS.loginTaken);
    this.#hasTurned = true;
  };

  /** Sets its gauges. */
  show(): void {
    const { config, metrics } = this.#parts;
    const label = { upstream: config.name };
    this.#sender.show();
    this.#accounts.show(metrics);
    if (this.#credentialEnds.size > 0)
      metrics.credentialExpiry.set(label, Math.min(...this.#credentialEnds.values()) / 1000);
    const refused = this.accounts.filter((status) => status.refused).length;
    if (this.#hasTurned) metrics.upstreamRefusedAccounts.set(label, refused);
  }

  /** As `Upstream.leave`. */
  leave(refusal?: string): void {
    this.#sender.transport.leave(refusal);
  }

  /** Resolves with the headers. */
  async send(wanted: RegistryRequest): Promise<RegistryResponse> {
    return this.#repeat(wanted, async (request) => this.#attempt(request));
  }

  /** Resolves with the whole of a small body; one that breaks off is asked for again. */
  async read(wanted: RegistryRequest, maxBytes: number): Promise<SmallResponse> {
    return this.#repeat(wanted, async (request) => {
      const { status, headers, url, codings, chunks, page } = await this.#attempt(request);
      let release = (): void => {};
      const enter = async (): Promise<void> => {
        const entered = this.#large.enter();
        release = await (request.deadline?.without(entered) ?? entered);
      };
      try {
        const limits = { limit: maxBytes, codings };
        const weighed = weigh(chunks, enter);
        const bytes = status === 404 ? undefined : await readDocument(weighed, limits);
        if (!bytes) release();
        return { status, headers, url, bytes, ...(page && { page }), release: () => release() };
      } catch (error) {
        release();
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    this.#bandwidth?.close();
    await this.#sender.transport.close();
  }

  /** All attempts together have one deadline, and what they wait for goes on without them. */
  async #repeat<Value>(
    wanted: RegistryRequest,
    attempt: (request: RegistryRequest) => Promise<Value>,
  ): Promise<Value> {
    const { timing } = this.#parts;
    const pauses = pausesOf(timing);
    const lastStart = performance.now() + timing.attemptsMs;
    using deadline = this.#sender.startDeadline(wanted.withinMs);
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await deadline.within(attempt({ ...wanted, deadline }));
      } catch (error) {
        const pause = pauses.after(attempts);
        const final = wanted.isStream || attempts >= (wanted.attempts ?? MAX_ATTEMPTS);
        const late = performance.now() + pause > lastStart;
        if (final || late || !isPassing(error)) throw this.#withoutSecrets(error);
        await deadline.within(sleep(pause, undefined, { signal: wanted.demand.signal }));
      }
    }
  }

  /** A redirect or a token service may have put one into the name of a host. */
  #withoutSecrets(error: unknown): unknown {
    if (!(error instanceof UpstreamError)) return error;
    const reason = this.secrets.redactOwn(error.reason);
    return reason === error.reason ? error : error.withReason(reason);
  }

  async #attempt(wanted: RegistryRequest): Promise<RegistryResponse> {
    const { metrics, config } = this.#parts;
    const { kind, method, demand } = wanted;
    const labels = { upstream: config.name, kind, method, purpose: purposeOf(demand) };
    const started = performance.now();
    const count = (code: string): void => {
      metrics.upstreamRequests.inc({ ...labels, code });
      metrics.upstreamRequestSeconds.observe(labels, (performance.now() - started) / 1000);
    };
    try {
      const response = await this.#inTurn(wanted);
      count(String(response.status));
      return response;
    } catch (error) {
      if (error instanceof UpstreamError && !error.isUnasked)
        count(String(error.status ?? 'error'));
      throw error;
    }
  }

  /** Asks with the account that has most pulls left, and with the next one when that is at its limit. */
  async #inTurn(wanted: RegistryRequest): Promise<RegistryResponse> {
    let refusal: UpstreamError | undefined;
    for (const account of this.#accounts.inOrder(wanted)) {
      const answer = await account.ask(wanted);
      const fault = await this.#findFault(wanted, answer, account);
      if (!fault) return this.#accept(wanted, answer.response);
      if (isContent(wanted, answer)) {
        return { ...(await this.#accept(wanted, answer.response)), page: fault };
      }
      // Another account's limit is another one; a storage host's is no account's.
      if (fault.fault !== 'rate-limited' || !answer.isOwn) throw fault;
      if ((fault.retryAfterMs ?? 0) < (refusal?.retryAfterMs ?? Infinity)) refusal = fault;
    }
    // The registry's own words say it better.
    throw refusal ?? this.#accounts.refusal(wanted);
  }

  async #findFault(
    wanted: RegistryRequest,
    answer: RegistryAnswer,
    account: Account,
  ): Promise<UpstreamError | undefined> {
    const { config, clock } = this.#parts;
    const { response, isOwn } = answer;
    const { status, headers } = response;
    const login = account.isAnonymous || !isOwn ? TEXTS.anonymously : TEXTS.withCredentials;
    const verdict = judge(answer, { login });
    if (!verdict) return undefined;
    const said = isContent(wanted, answer) ? '' : await readErrorMessage(response, this.secrets);
    const isLimit = status === 429 && isOwn;
    const retryAfterMs = isLimit ? account.quota.waitMs(wanted) : parseRetryAfter(headers, clock);
    const reason = `${verdict.reason}${said}${this.#sender.tellMove(answer.movedTo)}`;
    const options = { status, retryAfterMs, isAnswer: true };
    return new UpstreamError(config.name, verdict.fault, reason, options);
  }

  async #accept(wanted: RegistryRequest, response: TransportResponse): Promise<RegistryResponse> {
    const { status, headers, url, codings } = response;
    if (wanted.method === 'HEAD' || status === 404) await response.dump();
    // Nobody wants to know any more, and a later answer may say otherwise.
    wanted.demand.signal?.throwIfAborted();
    const chunks = this.#counted(wanted, response);
    return { status, headers, url, codings, chunks, discard: () => response.destroy() };
  }

  async *#counted(
    { kind, demand, deadline, isStream = false }: RegistryRequest,
    response: TransportResponse,
  ): AsyncGenerator<Buffer> {
    const { metrics, config } = this.#parts;
    const upstream = config.name;
    for await (const chunk of response.chunks()) {
      const purpose = purposeOf(demand);
      metrics.upstreamBytes.inc({ upstream, kind, purpose }, chunk.length);
      const turn = this.#bandwidth?.take(chunk.length, demand);
      if (turn) await (deadline && !isStream ? deadline.without(turn) : turn);
      yield chunk;
    }
  }
}

/** Enters before more is read of what turns out to be large. */
async function* weigh(
  chunks: AsyncIterable<Buffer>,
  enter: () => Promise<void>,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  let isLarge = false;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > SMALL_BYTES && !isLarge) {
      isLarge = true;
      await enter();
    }
    yield chunk;
  }
}

/** Worth another attempt soon: the next one may well succeed. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof UpstreamError) || error.isUnasked) return false;
  return error.fault === 'unreachable' || error.fault === 'timeout' || error.fault === 'failing';
}

/** Whether what was found wrong with an answer is that it calls itself a page, which may be untrue. */
function isContent({ takesPages = false }: RegistryRequest, { response }: RegistryAnswer): boolean {
  return takesPages && response.status < 300;
}
