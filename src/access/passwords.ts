import { hash as digest, randomBytes } from 'node:crypto';
import PQueue from 'p-queue';
import type { PasswordResult } from '../observe/declarations.ts';
import { RegistryError } from '../oci/errors.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import { Failures, networkOf } from './failures.ts';
import { TEXTS } from './texts.ts';

export interface PasswordsParts {
  /** The hashes of the users, as the file has them now. */
  readonly users: () => ReadonlyMap<string, string>;
  readonly clock: Clock;
  /** Compares a password with a bcrypt hash, beside the event loop. */
  readonly compare?: (password: string, hash: string) => Promise<boolean>;
  /** Told of each that was not remembered. */
  readonly judged?: (attempt: PasswordAttempt) => void;
}

export interface PasswordAttempt {
  readonly result: PasswordResult;
  /** One of ours; what others call themselves is nobody's to read. */
  readonly account?: string;
  readonly address: string | undefined;
}

/** bcrypt takes a core for a quarter of a second: at most two work at a time, and so many wait. */
const AT_A_TIME = 2;
const MAX_WAITING = 100;
/** Of those that wait, from one network. */
const MAX_WAITING_OF_NETWORK = 50;
/** How long the result counts while the hash is the same. */
const REMEMBER_MS = 5 * 60_000;
const MAX_REMEMBERED = 10_000;
/** bcrypt reads no more; a longer one would be as good as its beginning. */
const MAX_PASSWORD_BYTES = 72;
/** Of nobody, without its cost; compared for who is not known, so that it takes as long. */
const NOBODY = 'CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW';
const USUAL_COST = '10';

/**
 * Passwords of users. One that was compared is remembered for five minutes as a keyed hash, right or wrong,
 * so that pulls cost no hash, nor do those with a pull secret of the upstream; one that comes several times
 * at once is compared once. Different wrong ones are counted by `Failures`, and unknown users cost the same.
 */
export class Passwords {
  readonly #parts: PasswordsParts;
  readonly #compare: (password: string, hash: string) => Promise<boolean>;
  readonly #queue = new PQueue({ concurrency: AT_A_TIME });
  readonly #key = randomBytes(32).toString('base64');
  /** Pairs that were compared, by a keyed hash. */
  readonly #compared: ExpiringMap<string, boolean>;
  readonly #failures: Failures;
  readonly #running = new Map<string, Promise<boolean>>();
  /** How many of a network run or wait; only of those that have some. */
  readonly #ofNetwork = new Map<string, number>();

  constructor(parts: PasswordsParts) {
    const { clock, compare = verify } = parts;
    this.#parts = parts;
    this.#compare = compare;
    this.#compared = new ExpiringMap({ max: MAX_REMEMBERED, clock });
    this.#failures = new Failures(clock);
  }

  /** Whether `verify` would answer without a hash. */
  remembers(user: string, password: string, address = ''): boolean {
    const hash = this.#parts.users().get(user) ?? '';
    const mark = this.#markOf(user, password, hash);
    return this.#recall(mark, { user, network: networkOf(address) }) !== undefined;
  }

  /**
   * What a comparison said. A right one counts no more than others while too many wrong ones of the account came:
   * else who guesses would learn of as many as he likes which one its owner has used lately.
   */
  #recall(mark: string, { user, network }: { user: string; network: string }): boolean | undefined {
    const known = this.#compared.get(mark);
    return known && this.#failures.isSpent(user, network) ? undefined : known;
  }

  /** Throws `TOOMANYREQUESTS` while too many wrong ones came from this address, or too many wait. */
  async verify(user: string, password: string, address = ''): Promise<boolean> {
    const users = this.#parts.users();
    const hash = users.get(user);
    const mark = this.#markOf(user, password, hash ?? '');
    const network = networkOf(address);
    const known = this.#recall(mark, { user, network });
    if (known !== undefined) return known;
    const running = this.#running.get(mark);
    if (running) return running;
    this.#requireTurn(user, network, address);
    const started = this.#run({ password, hash: hash ?? nobodyOf(users), network })
      .then((isRight) => {
        const isKnown = hash !== undefined;
        // Who comes with a password that was changed while it waited would be given tokens of the new one.
        const isLet = isRight && isKnown && this.#parts.users().get(user) === hash;
        this.#compared.set(mark, isLet, REMEMBER_MS);
        if (isLet) this.#failures.takeBack(user, network);
        const result = isLet ? 'right' : isKnown ? 'wrong' : 'unknown';
        this.#parts.judged?.({ result, address, ...(isKnown && { account: user }) });
        return isLet;
      })
      .finally(() => this.#running.delete(mark));
    this.#running.set(mark, started);
    return started;
  }

  #requireTurn(user: string, network: string, address: string): void {
    const isBusy =
      this.#queue.size >= MAX_WAITING ||
      (this.#ofNetwork.get(network) ?? 0) >= MAX_WAITING_OF_NETWORK;
    if (!isBusy && this.#failures.begin(user, network)) return;
    if (!isBusy && this.#parts.users().has(user)) this.#failures.refuse(user, network);
    this.#parts.judged?.({ result: 'limited', address });
    throw new RegistryError('TOOMANYREQUESTS', {
      message: isBusy ? TEXTS.tooManyLogins : TEXTS.tooManyFailures,
      headers: { 'Retry-After': String(isBusy ? 1 : Failures.WINDOW_SECONDS) },
    });
  }

  async #run({ password, hash, network }: Attempt): Promise<boolean> {
    const isLong = Buffer.byteLength(password) > MAX_PASSWORD_BYTES;
    this.#ofNetwork.set(network, (this.#ofNetwork.get(network) ?? 0) + 1);
    try {
      const isRight = await this.#queue.add(async () => this.#compare(password, hash));
      return isRight && !isLong;
    } finally {
      const rest = (this.#ofNetwork.get(network) ?? 1) - 1;
      if (rest > 0) this.#ofNetwork.set(network, rest);
      else this.#ofNetwork.delete(network);
    }
  }

  #markOf(user: string, password: string, hash: string): string {
    // SHA-512/256 may have its key in front, and is quicker so than an HMAC: this is part of each pull.
    return digest('sha512-256', JSON.stringify([this.#key, user, password, hash]), 'base64');
  }
}

interface Attempt {
  readonly password: string;
  readonly hash: string;
  readonly network: string;
}

/** With the cost that the users of the file have. */
function nobodyOf(users: ReadonlyMap<string, string>): string {
  const [first] = users.values();
  return `$2b$${first?.slice(4, 6) ?? USUAL_COST}$${NOBODY}`;
}

/** In threads of its own; loaded with the first password. */
async function verify(password: string, hash: string): Promise<boolean> {
  const bcrypt = await import('@node-rs/bcrypt');
  return bcrypt.verify(password, hash);
}
