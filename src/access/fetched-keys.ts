import { createHash } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { parseJwks, type KeySet } from '../config/jwks.ts';
import { readSecret } from '../config/credentials-schema.ts';
import type { Authorities } from '../net/authorities.ts';
import { oneHost } from '../net/one-host.ts';
import type { Timing } from '../net/timing.ts';
import { Transport } from '../net/transport.ts';
import type { Log } from '../observe/log.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Clock } from '../time/clock.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import type { KeptKeys } from './kept-keys.ts';
import { TEXTS } from './texts.ts';

type JwksConfig = NonNullable<NonNullable<Config['access']>['kubernetes']>[number]['jwks'];

export interface FetchedKeysParts {
  readonly config: Extract<JwksConfig, { readonly url: string }>;
  /** As rules name it: `oidc:corp`. */
  readonly issuer: string;
  /** Where its `jwks` stands in the configuration. */
  readonly key: string;
  /** Nothing is fetched. */
  readonly isOffline: boolean;
  readonly kept: KeptKeys;
  readonly net: {
    readonly timing: Timing;
    readonly authorities: Authorities;
    readonly lookup?: LookupFunction | undefined;
  };
  readonly clock: Clock;
  readonly log: Log;
}

/** After this time they are fetched again when one is wanted; nobody waits for that. */
const REFRESH_MS = 10 * 60_000;
/** Between the end of one question and the next, whatever is asked for meanwhile. */
const COOL_DOWN_MS = 30_000;
/** Of an answer: a hundred keys of the longest kind with their certificates. */
const MAX_BYTES = 512 * 1024;

/**
 * Those of an address, fetched when one is wanted: by one request at a time, at most one in 30 s, of 512 KiB
 * and in the time that a small answer may take (`headersMs`, and a second for each KiB); that is also how
 * long a login waits at most. While no good answer comes, the last good one counts, also after a restart.
 */
export class FetchedKeys implements IssuerKeys {
  readonly isPinned = false;
  readonly #parts: FetchedKeysParts;
  readonly #transport: Transport;
  readonly #token: HeldFiles<string> | undefined;
  readonly #origin: string;
  #set: KeySet | undefined;
  /** A moment of the steady clock; a set that was kept is older than any. */
  #fetchedAt = -Infinity;
  #coolUntil = -Infinity;
  /** What the one question under way is waited for. */
  #waited: Promise<unknown> | undefined;
  #isFailing = false;
  #isClosed = false;

  constructor(parts: FetchedKeysParts) {
    const { config, issuer, key, kept, net, log } = parts;
    const { url, ca, token, environment } = config;
    this.#parts = parts;
    this.#origin = originOf(config);
    this.#set = kept.find(this.#origin);
    this.#token = token && tokenOf(token, { issuer, log });
    this.#transport = new Transport({
      ...net,
      caKey: `${key}.ca`,
      config: oneHost({ name: issuer, url, ca, environment }),
    });
  }

  get current(): KeySet {
    return this.#set ?? new Map();
  }

  async load(): Promise<void> {
    if (!this.#set) return this.seek();
    if (this.#parts.clock.steady() - this.#fetchedAt >= REFRESH_MS) void this.seek();
  }

  async seek(): Promise<void> {
    const { clock, isOffline, net } = this.#parts;
    const isCool = clock.steady() < this.#coolUntil;
    if (!this.#waited && (isCool || isOffline || this.#isClosed)) return;
    this.#waited ??= this.#waitFor(this.#refresh(), net.timing.headersMs);
    await this.#waited;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#transport.close();
  }

  /** All who wait give up together, and later ones at once. */
  async #waitFor(running: Promise<void>, ms: number): Promise<void> {
    const late = new AbortController();
    const ended = running.finally(() => late.abort());
    await Promise.race([ended, sleep(ms, undefined, late).catch(() => undefined)]);
  }

  async #refresh(): Promise<void> {
    const { clock } = this.#parts;
    const [answer] = await Promise.allSettled([this.#fetch()]);
    this.#waited = undefined;
    this.#coolUntil = clock.steady() + COOL_DOWN_MS;
    if (answer.status === 'rejected') return this.#fail(answer.reason as Error);
    this.#fetchedAt = clock.steady();
    this.#take(answer.value);
  }

  #take(set: KeySet): void {
    const { issuer, kept, log } = this.#parts;
    const isNew = !isDeepStrictEqual(set, this.#set);
    if (isNew) {
      this.#set = set;
      void kept.keep(this.#origin, set);
    }
    if (isNew || this.#isFailing) log.info({ issuer, keys: set.size }, TEXTS.keysFetched);
    this.#isFailing = false;
  }

  /** Told once, until an answer is good again. */
  #fail(error: Error): void {
    const { issuer, log } = this.#parts;
    const reason = error instanceof UpstreamError ? error.reason : error.message;
    if (!this.#isFailing && !this.#isClosed) log.warn({ issuer, reason }, TEXTS.keysNotFetched);
    this.#isFailing = true;
  }

  /** Redirects are not followed: the operator writes where the keys are. */
  async #fetch(): Promise<KeySet> {
    const { config, net } = this.#parts;
    const url = new URL(config.url);
    using deadline = this.#transport.startDeadline(url.host, net.timing.headersMs);
    const token = this.#token?.current;
    const headers = {
      accept: 'application/jwk-set+json, application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
    const answer = await this.#transport.send({ method: 'GET', url, headers, deadline });
    const { status } = answer;
    if (status !== 200) {
      answer.destroy();
      throw new Error(TEXTS.keysStatus({ host: url.host, status }));
    }
    const bytes = await answer.read(MAX_BYTES);
    if (!bytes) throw new Error(TEXTS.keysTooLong({ host: url.host, most: MAX_BYTES }));
    return parseJwks(String(bytes), url.host);
  }
}

/** By whose word they are good: what came by authorities that count no more is nobody's. */
function originOf({ url, ca }: FetchedKeysParts['config']): string {
  return ca ? `${url} ${createHash('sha256').update(ca.contents).digest('base64url')}` : url;
}

function tokenOf(
  { text, file }: { readonly text: string; readonly file: string | undefined },
  { issuer, log }: Pick<FetchedKeysParts, 'issuer' | 'log'>,
): HeldFiles<string> {
  return new HeldFiles({
    paths: file === undefined ? [] : [file],
    value: text,
    read: () => (file === undefined ? text : readSecret('bearer', file)),
    failed: (reason) => log.warn({ issuer, reason }, TEXTS.keysTokenKept),
    renewed: () => log.info({ issuer }, TEXTS.keysTokenRenewed),
  });
}
