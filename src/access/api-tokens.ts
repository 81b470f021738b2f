import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import PQueue from 'p-queue';
import type { ApiToken, NewApiToken, TokenWish } from '../api/access-api.ts';
import { RegistryError } from '../oci/errors.ts';
import { readOwn, writeOwn } from '../store/own-file.ts';
import type { Clock } from '../time/clock.ts';
import { TEXTS } from './texts.ts';

interface Kept extends ApiToken {
  /** SHA-256 of the secret, hex. The secret is random, so that nobody can guess it from that. */
  readonly hash: string;
}

const PREFIX = 'ent_';
const FORM = /^ent_([a-z0-9]{12})_([A-Za-z0-9_-]{43})$/;
const MAX_TOKENS = 10_000;
const MAX_BYTES = 16 * 2 ** 20;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

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
  readonly #writes = new PQueue({ concurrency: 1 });
  /** When the use of a token is next written down. */
  readonly #notBefore = new Map<string, number>();

  /** Of a damaged file no token counts, and it is put beside for whoever can mend it: `damaged` is told its path. */
  static async open(
    storePath: string,
    clock: Pick<Clock, 'wall'>,
    damaged: (path: string) => void,
  ): Promise<ApiTokens> {
    const path = join(storePath, 'tokens.json');
    const text = await readOwn(path, MAX_BYTES);
    try {
      return new ApiTokens(path, clock, parse(text));
    } catch {
      const aside = `${path}.damaged`;
      await rename(path, aside).catch(() => undefined);
      damaged(aside);
      return new ApiTokens(path, clock, []);
    }
  }

  private constructor(path: string, clock: Pick<Clock, 'wall'>, tokens: readonly Kept[]) {
    this.#path = path;
    this.#clock = clock;
    this.#tokens = new Map(tokens.map((token) => [token.id, token]));
  }

  list(): readonly ApiToken[] {
    return [...this.#tokens.values()].map(describe);
  }

  /** The secret is told here and never again. Throws a `RegistryError` with status 409 for one too many. */
  async create({ name, owner, lifetimeMs, role }: TokenWish): Promise<NewApiToken> {
    const id = randomBytes(8).readBigUInt64BE().toString(36).padStart(12, '0').slice(-12);
    const secret = `${PREFIX}${id}_${randomBytes(32).toString('base64url')}`;
    const createdAt = this.#clock.wall();
    const ends = lifetimeMs !== undefined && { expiresAt: createdAt + lifetimeMs };
    const token = { id, name, owner, createdAt, ...ends, ...(role && { role }) };
    await this.#update((tokens) => {
      if (tokens.size >= MAX_TOKENS) {
        const message = TEXTS.tooManyTokens({ most: MAX_TOKENS });
        throw new RegistryError('UNSUPPORTED', { status: 409, message });
      }
      return tokens.set(id, { ...token, hash: hashOf(secret) });
    });
    return { ...token, secret };
  }

  /** False when there was none. It counts no more from now on. */
  async revoke(id: string): Promise<boolean> {
    if (!this.#tokens.has(id)) return false;
    await this.#update((tokens) => {
      tokens.delete(id);
      return tokens;
    });
    this.#notBefore.delete(id);
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

  /** Whether one of this name counts now. */
  has(name: string): boolean {
    return this.list().some((token) => token.name === name && this.findById(token.id));
  }

  /** By the day: a token in use costs one write a day, and where the disk refuses it one an hour. */
  #noteUse({ id, usedAt = 0 }: Kept): void {
    const now = this.#clock.wall();
    const today = Math.floor(now / DAY_MS) * DAY_MS;
    if (usedAt >= today || now < (this.#notBefore.get(id) ?? 0)) return;
    this.#notBefore.set(id, now + HOUR_MS);
    const noted = this.#update((tokens) => {
      const token = tokens.get(id);
      return token ? tokens.set(id, { ...token, usedAt: today }) : tokens;
    });
    // It costs a date.
    void noted.catch(() => undefined);
  }

  /** One after the other, each from what the one before has written: what the disk refuses is not so. */
  async #update(change: (tokens: Map<string, Kept>) => Map<string, Kept>): Promise<void> {
    await this.#writes.add(async () => {
      const tokens = change(new Map(this.#tokens));
      const text = JSON.stringify({ version: 1, tokens: [...tokens.values()] });
      await writeOwn(this.#path, text);
      this.#tokens = tokens;
    });
  }
}

/** Without what proves it. */
function describe({ id, name, owner, role, createdAt, expiresAt, usedAt }: Kept): ApiToken {
  return {
    id,
    name,
    owner,
    createdAt,
    ...(role && { role }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(usedAt !== undefined && { usedAt }),
  };
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Throws for what is no such file. */
function parse(text: string | undefined): readonly Kept[] {
  if (text === undefined) return [];
  const { tokens } = JSON.parse(text) as { tokens: readonly Kept[] };
  const isSound = tokens.every(
    ({ id, hash }) => typeof id === 'string' && /^[0-9a-f]{64}$/.test(hash),
  );
  if (!isSound) throw new SyntaxError('not of its form');
  return tokens;
}
