import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { parseHtpasswd } from '../config/htpasswd.ts';
import { readTextFile } from '../config/source.ts';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Clock } from '../time/clock.ts';
import { AccessKeys } from './access-keys.ts';
import { Access } from './access.ts';
import { ApiTokens } from './api-tokens.ts';
import { BearerTokens } from './bearer-tokens.ts';
import { Passwords, type PasswordAttempt } from './passwords.ts';
import { Rules } from './rules.ts';

export interface AccessStoreParts {
  readonly path: string;
  /** Of the store; absent where the disk does not take one. */
  readonly id: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: Audit;
  readonly metrics: Metrics;
}

/** What access control keeps in the store, whichever rules count. */
export class AccessStore {
  readonly tokens: ApiTokens;
  readonly #keys: AccessKeys;
  readonly #parts: AccessStoreParts;

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
    return new AccessStore(tokens, keys, parts);
  }

  private constructor(tokens: ApiTokens, keys: AccessKeys, parts: AccessStoreParts) {
    this.tokens = tokens;
    this.#keys = keys;
    this.#parts = parts;
  }

  /** By the rules of a configuration; `undefined` where it has none, and everybody may pull everything. */
  access({ access: config }: Pick<Config, 'access'>): Access | undefined {
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
}

/** As the file has them now; while it cannot be read, those of before, or none. */
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
  return () => files.current;
}

/** What went wrong is told when the file is next looked at. */
function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
