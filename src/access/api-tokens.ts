import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import type { ApiToken, NewApiToken, TokenWish } from '../api/access-api.ts';
import { readOwn, writeOwn } from '../store/own-file.ts';
import type { Clock } from '../time/clock.ts';

interface Kept extends ApiToken {
  /** SHA-256 of the secret, hex. The secret is random, so that nobody can guess it from that. */
  readonly hash: string;
}

const PREFIX = 'ent_';
const FORM = /^ent_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$/;
const MAX_TOKENS = 10_000;
const MAX_BYTES = 16 * 2 ** 20;
const DAY_MS = 86_400_000;

/** Whether a secret is one of ours by its form: then it is of no other registry. */
export function isApiToken(secret: string): boolean {
  return secret.startsWith(PREFIX);
}

/**
 * Tokens that are made for scripts and machines, in one file of the store: opaque, each with an owner, an
 * end, and the day of its last use; only a hash of each is kept. At most 10,000.
 */
export class ApiTokens {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'wall'>;
  #tokens: ReadonlyMap<string, Kept>;
  #written: Promise<void> = Promise.resolve();

  static async open(storePath: string, clock: Pick<Clock, 'wall'>): Promise<ApiTokens> {
    const path = join(storePath, 'tokens.json');
    return new ApiTokens(path, clock, parse(await readOwn(path, MAX_BYTES)));
  }

  private constructor(path: string, clock: Pick<Clock, 'wall'>, tokens: readonly Kept[]) {
    this.#path = path;
    this.#clock = clock;
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
  }

  list(): readonly ApiToken[] {
    return [...this.#tokens.values()].map(describe);
  }

  /** The secret is told here and never again. */
  async create({ name, owner, expiresAt }: TokenWish): Promise<NewApiToken> {
    if (this.#tokens.size >= MAX_TOKENS) throw new RangeError(`more than ${MAX_TOKENS} tokens`);
    const id = randomBytes(8).readBigUInt64BE().toString(36).padStart(12, '0').slice(-12);
    const secret = `${PREFIX}${id}_${randomBytes(32).toString('base64url')}`;
    const createdAt = this.#clock.wall();
    const token = { id, name, owner, createdAt, ...(expiresAt !== undefined && { expiresAt }) };
    await this.#update(new Map([...this.#tokens, [id, { ...token, hash: hashOf(secret) }]]));
    return { ...token, secret };
  }

  /** False when there was none. It counts no more from now on. */
  async revoke(id: string): Promise<boolean> {
    if (!this.#tokens.has(id)) return false;
    await this.#update(new Map([...this.#tokens].filter(([each]) => each !== id)));
    return true;
  }

  /** What a secret stands for; `undefined` for what is none, was revoked, or has ended. */
  find(secret: string): ApiToken | undefined {
    const [, id = ''] = FORM.exec(secret) ?? [];
    const token = this.findById(id);
    if (!token) return undefined;
    const kept = this.#tokens.get(id)!;
    const isRight = timingSafeEqual(
      Buffer.from(kept.hash, 'hex'),
      Buffer.from(hashOf(secret), 'hex'),
    );
    if (!isRight) return undefined;
    this.#noteUse(kept);
    return token;
  }

  /** One that counts now. */
  findById(id: string): ApiToken | undefined {
    const token = this.#tokens.get(id);
    if (!token || (token.expiresAt ?? Infinity) <= this.#clock.wall()) return undefined;
    return describe(token);
  }

  /** By the day: a token in use costs one write a day. */
  #noteUse(token: Kept): void {
    const today = Math.floor(this.#clock.wall() / DAY_MS) * DAY_MS;
    if ((token.usedAt ?? 0) >= today) return;
    const tokens = new Map([...this.#tokens, [token.id, { ...token, usedAt: today }]]);
    // A disk that refuses it costs a date.
    void this.#update(tokens).catch(() => undefined);
  }

  async #update(tokens: ReadonlyMap<string, Kept>): Promise<void> {
    const before = this.#tokens;
    this.#tokens = tokens;
    const written = this.#written.then(async () =>
      writeOwn(this.#path, JSON.stringify({ version: 1, tokens: [...this.#tokens.values()] })),
    );
    this.#written = written.catch(() => undefined);
    try {
      await written;
    } catch (error) {
      this.#tokens = before;
      throw error;
    }
  }
}

/** Without what proves it. */
function describe({ id, name, owner, createdAt, expiresAt, usedAt }: Kept): ApiToken {
  return {
    id,
    name,
    owner,
    createdAt,
    ...(expiresAt !== undefined && { expiresAt }),
    ...(usedAt !== undefined && { usedAt }),
  };
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function parse(text: string | undefined): readonly Kept[] {
  if (text === undefined) return [];
  const { tokens } = JSON.parse(text) as { tokens?: readonly Kept[] };
  const all = tokens ?? [];
  if (!all.every(({ id, hash }) => typeof id === 'string' && /^[0-9a-f]{64}$/.test(hash))) {
    throw new Error('tokens.json is damaged');
  }
  return all;
}
