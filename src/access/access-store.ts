import { randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { parseHtpasswd } from '../config/htpasswd.ts';
import { readClientAuthorities } from '../config/pem.ts';
import { readTextFile } from '../config/source.ts';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock } from '../time/clock.ts';
import { AccessKeys } from './access-keys.ts';
import { Access } from './access.ts';
import { ApiTokens } from './api-tokens.ts';
import { BearerTokens } from './bearer-tokens.ts';
import { FetchedKeys, type FetchedKeysParts } from './fetched-keys.ts';
import { Issuer, type IssuerConfig } from './issuer.ts';
import { Issuers } from './issuers.ts';
import { KeptKeys } from './kept-keys.ts';
import { PinnedKeys } from './pinned-keys.ts';
import { ClientCertificates } from './client-certificates.ts';
import { Passwords, type PasswordAttempt } from './passwords.ts';
import { Rules } from './rules.ts';
import { ScannerPasses } from './scanner-passes.ts';

export interface AccessStoreParts {
  readonly path: string;
  /** Of the store; absent where the disk does not take one. */
  readonly id: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Audit;
  readonly metrics: Metrics;
  /** How addresses of keys are reached. */
  readonly net: FetchedKeysParts['net'];
}

/** What access control keeps in the store, whichever rules count. */
export class AccessStore {
  readonly tokens: ApiTokens;
  /** Those with which the scanner fetches what it looks into. */
  readonly passes: ScannerPasses;
  readonly #keys: AccessKeys;
  readonly #kept: KeptKeys;
  readonly #parts: AccessStoreParts;
  /** By what they are configured as: a reload that leaves that as it is leaves them, too. */
  #fetched: ReadonlyMap<string, FetchedKeys> = new Map();

  static async open(parts: AccessStoreParts): Promise<AccessStore> {
    const { path, clock, log } = parts;
    const tokens = await ApiTokens.open(path, clock, (aside) =>
      log.error({ path: aside }, 'the file of tokens is damaged: none of them counts'),
    );
    const keys = await AccessKeys.open(path, {
      clock,
      damaged: (reason, file) =>
        log.error({ path: file, reason }, 'the keys of tokens are damaged: clients log in anew'),
      unwritten: (reason, file) =>
        log.error({ path: file, reason }, 'the keys of tokens count until the process ends'),
    });
    const kept = await KeptKeys.open(path, (reason, file) =>
      log.error({ path: file, reason }, 'the kept keys of issuers are not read: fetched anew'),
    );
    return new AccessStore({ ...parts, tokens, keys, kept });
  }

  private constructor(parts: AccessStoreParts & Opened) {
    this.tokens = parts.tokens;
    this.#keys = parts.keys;
    const { keys, clock, id = randomUUID() } = parts;
    this.passes = new ScannerPasses({ keys, clock, id });
    this.#kept = parts.kept;
    this.#parts = parts;
  }

  /** By the rules of a configuration; `undefined` where it has none, and everybody may pull everything. */
  access({ access: config, offline }: Pick<Config, 'access' | 'offline'>): Access | undefined {
    const issuers = this.#openIssuers(config, offline);
    if (!config) return undefined;
    const { id = 'entrepot', clock, log } = this.#parts;
    const { service = `entrepot-${id.slice(0, 8)}`, ttl: ttlMs } = config.token;
    const users = usersOf(config, log);
    return new Access({
      service,
      users,
      tokens: this.tokens,
      bearers: new BearerTokens({ keys: this.#keys, clock, service, ttlMs }),
      passwords: new Passwords({ users, clock, judged: (attempt) => this.#tell(attempt) }),
      issuers: new Issuers({ issuers, clock, log }),
      certificates: certificatesOf(config, { clock, log }),
      rules: new Rules(config.rules),
    });
  }

  /** Of a wrong one the account is told, where it is one of ours; what else was shown is nobody's to read. */
  #tell({ result, account, address: client }: PasswordAttempt): void {
    const { metrics, audit, log } = this.#parts;
    metrics.access.passwords.inc({ result });
    if (result !== 'wrong') return;
    log.info({ account, client }, 'wrong password');
    audit.write({ event: 'login', client, account, denied: 'credentials' });
  }

  /** What is asked of issuers ends. */
  async close(): Promise<void> {
    await Promise.all([...this.#fetched.values()].map(async (keys) => keys.close()));
    await this.#kept.settle();
  }

  #openIssuers(config: Config['access'], isOffline: boolean): readonly Issuer[] {
    const { oidc = [], kubernetes = [] } = config ?? {};
    const before = this.#fetched;
    const fetched = new Map<string, FetchedKeys>();
    const open = (issuer: IssuerConfig, key: string): Issuer => {
      const { jwks } = issuer;
      const [name, { log }] = [`${issuer.kind}:${issuer.name}`, this.#parts];
      if ('file' in jwks) {
        return new Issuer(issuer, new PinnedKeys({ path: jwks.file, issuer: name, log }));
      }
      const mark = JSON.stringify([name, key, isOffline, jwks]);
      const parts = { ...this.#parts, config: jwks, issuer: name, key, isOffline };
      const keys = before.get(mark) ?? new FetchedKeys({ ...parts, kept: this.#kept });
      fetched.set(mark, keys);
      return new Issuer(issuer, keys);
    };
    const issuers = [
      ...oidc.map((each, place) => open({ kind: 'oidc', ...each }, `access.oidc[${place}].jwks`)),
      ...kubernetes.map((each, place) =>
        open({ kind: 'k8s', ...each }, `access.kubernetes[${place}].jwks`),
      ),
    ];
    this.#fetched = fetched;
    for (const [mark, keys] of before) if (!fetched.has(mark)) void keys.close();
    return issuers;
  }
}

interface Opened {
  readonly tokens: ApiTokens;
  readonly keys: AccessKeys;
  readonly kept: KeptKeys;
}

/**
 * As the file has them now; while it cannot be read, those of before, or none. Requests that come together
 * have one look at the file.
 */
function usersOf(
  { htpasswd }: NonNullable<Config['access']>,
  log: Log,
): () => ReadonlyMap<string, string> {
  if (!htpasswd) return () => new Map();
  const { file: path } = htpasswd;
  const read = () => parseHtpasswd(readTextFile(path), path);
  const files = new HeldFiles({
    paths: [path],
    value: attempt(read) ?? new Map(),
    read,
    failed: (reason) => log.error({ reason }, 'the users stay as they were'),
    renewed: (now) => log.info({ users: now.size }, 'the users are read again'),
  });
  let users: ReadonlyMap<string, string> | undefined;
  return () => {
    if (!users) setImmediate(() => (users = undefined)).unref();
    return (users ??= files.current);
  };
}

/** What went wrong is told when the file is next looked at. */
function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** By the authorities of the file, which is looked at with each request that came with one. */
function certificatesOf(
  { certificates }: NonNullable<Config['access']>,
  { clock, log }: Pick<AccessStoreParts, 'clock' | 'log'>,
): ClientCertificates | undefined {
  if (!certificates) return undefined;
  const { ca: path } = certificates;
  const read = () => readClientAuthorities(path);
  const files = new HeldFiles({
    paths: [path],
    value: attempt(read) ?? { pem: '', fingerprints: [] },
    read,
    failed: (reason) => log.error({ reason }, 'the authorities of clients stay as they were'),
    renewed: ({ fingerprints }) =>
      log.info({ authorities: fingerprints.length }, 'the authorities of clients are read again'),
  });
  return new ClientCertificates({ authorities: () => files.current, clock, log });
}
