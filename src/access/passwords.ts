import { createHmac, randomBytes } from 'node:crypto';
import PQueue from 'p-queue';
import { RegistryError } from '../oci/errors.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { TEXTS } from './texts.ts';

export interface PasswordsParts {
  /** The hashes of the users, as the file has them now. */
  readonly users: () => ReadonlyMap<string, string>;
  readonly clock: Clock;
  /** Compares a password with a bcrypt hash, beside the event loop. */
  readonly compare?: (password: string, hash: string) => Promise<boolean>;
}

/** bcrypt takes a core for a quarter of a second: at most two work at a time, and so many wait. */
const AT_A_TIME = 2;
const MAX_WAITING = 100;
/** How long the result counts while the hash is the same. */
const REMEMBER_MS = 5 * 60_000;
const MAX_REMEMBERED = 10_000;
/** So many wrong ones of an account from one address, and no more are compared for a while. */
const MAX_FAILURES = 10;
const FAILURES_MS = 60_000;
const MAX_FAILING = 10_000;
/** bcrypt reads no more; a longer one would be as good as its beginning. */
const MAX_PASSWORD_BYTES = 72;
/** Of nobody; compared for who is not known, so that it takes as long. */
const NOBODY = '$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW';

/**
 * Passwords of users. One that was compared is remembered for five minutes as a keyed hash, right or wrong,
 * so that pulls cost no hash, nor do those with a pull secret of the upstream; one that comes several times
 * at once is compared once. Different wrong ones are counted for each pair of address and account, so that
 * nobody locks out another's account, and unknown users cost the same.
 */
export class Passwords {
  readonly #parts: PasswordsParts;
  readonly #compare: (password: string, hash: string) => Promise<boolean>;
  readonly #queue = new PQueue({ concurrency: AT_A_TIME });
  readonly #key = randomBytes(32);
  /** Pairs that were compared, by a keyed hash. */
  readonly #compared: ExpiringMap<string, boolean>;
  readonly #failures: ExpiringMap<string, number>;
  readonly #running = new Map<string, Promise<boolean>>();

  constructor(parts: PasswordsParts) {
    const { clock, compare = verify } = parts;
    this.#parts = parts;
    this.#compare = compare;
    this.#compared = new ExpiringMap({ max: MAX_REMEMBERED, clock });
    this.#failures = new ExpiringMap({ max: MAX_FAILING, clock });
  }

  has(user: string): boolean {
    return this.#parts.users().has(user);
  }

  /** Throws `TOOMANYREQUESTS` while too many wrong ones came for the account from this address. */
  async verify(user: string, password: string, address = ''): Promise<boolean> {
    const hash = this.#parts.users().get(user);
    const mark = this.#markOf(user, password, hash ?? '');
    const known = this.#compared.get(mark);
    if (known !== undefined) return known;
    const pair = `${address} ${user}`;
    const failures = this.#failures.get(pair) ?? 0;
    const isBusy = this.#queue.size >= MAX_WAITING;
    if (failures >= MAX_FAILURES || isBusy) {
      const message = isBusy ? TEXTS.tooManyLogins : TEXTS.tooManyFailures({ user });
      const headers = { 'Retry-After': String(isBusy ? 1 : FAILURES_MS / 1000) };
      throw new RegistryError('TOOMANYREQUESTS', { message, headers });
    }
    const running = this.#running.get(mark) ?? this.#run(mark, password, hash ?? NOBODY);
    const isRight = (await running) && hash !== undefined;
    this.#compared.set(mark, isRight, REMEMBER_MS);
    if (!isRight) this.#failures.set(pair, (this.#failures.get(pair) ?? 0) + 1, FAILURES_MS);
    return isRight;
  }

  #run(mark: string, password: string, hash: string): Promise<boolean> {
    const isLong = Buffer.byteLength(password) > MAX_PASSWORD_BYTES;
    const running = this.#queue
      .add(async () => (await this.#compare(password, hash)) && !isLong)
      .finally(() => this.#running.delete(mark));
    this.#running.set(mark, running);
    return running;
  }

  #markOf(user: string, password: string, hash: string): string {
    const parts = JSON.stringify([user, password, hash]);
    return createHmac('sha256', this.#key).update(parts).digest('base64');
  }
}

/** In threads of its own; loaded with the first password. */
async function verify(password: string, hash: string): Promise<boolean> {
  const bcrypt = await import('@node-rs/bcrypt');
  return bcrypt.verify(password, hash);
}
