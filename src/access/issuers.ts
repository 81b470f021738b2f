import { createHash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import type { IssuerKey } from '../config/jwks.ts';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { Grant } from './bearer-tokens.ts';
import type { Issuer } from './issuer.ts';
import type { Subject } from './subject.ts';
import { TEXTS } from './texts.ts';

type IssuerGrant = Extract<Grant, { readonly kind: 'issuer' }>;

/** Who showed a JWT, and until when it says so. */
export interface Verified {
  readonly subject: Subject;
  readonly grant: IssuerGrant;
}

export interface IssuersParts {
  readonly issuers: readonly Issuer[];
  readonly clock: Clock;
  readonly log: Log;
}

const FORM = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;
/** Longer ones are not even parsed. Headers of 16 KiB carry no more than 12 KiB as a password. */
const MAX_LENGTH = 16 * 1024;
/** Such as sign with a key that others know, or not at all, are not among them. */
const ALGORITHMS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
/** Neither our own tokens nor those that say something else of somebody, such as that of a logout. */
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt']);
/** By which the clocks of an issuer and of this machine may differ. */
const TOLERANCE_SECONDS = 120;
/** Verified ones are remembered by their hash, so many and so many bytes of them. */
const MAX_REMEMBERED = 20_000;
const MAX_REMEMBERED_BYTES = 32 * 2 ** 20;
const DAY_MS = 86_400_000;
const MAX_TOLD = 100;

/** Whether a secret is a JWT by its form: then it is nobody's password. */
export function isJwt(secret: string): boolean {
  return FORM.test(secret);
}

interface Remembered {
  readonly verified: Verified;
  /** Whether the key by which it was verified still counts. */
  stands(): boolean;
}

/**
 * JWTs of the configured issuers. A verified one counts until its end without another look at the keys, for
 * a day at most: an issuer that goes away or changes its keys ends nobody's work. Only of a pinned file that
 * is the operator's word: what is no longer in it counts no more.
 */
export class Issuers {
  readonly #parts: IssuersParts;
  readonly #verified: ExpiringMap<string, Remembered>;
  readonly #told: ExpiringMap<string, true>;

  constructor(parts: IssuersParts) {
    this.#parts = parts;
    const limits = { max: MAX_REMEMBERED, maxBytes: MAX_REMEMBERED_BYTES };
    this.#verified = new ExpiringMap({ ...limits, clock: parts.clock });
    this.#told = new ExpiringMap({ max: MAX_TOLD, clock: parts.clock });
  }

  /** Whether what was given for a JWT still stands. */
  counts({ issuer, key, until }: IssuerGrant): boolean {
    const found = this.#parts.issuers.find(({ mark }) => mark === issuer);
    return found !== undefined && isLeft(found, key) && this.#parts.clock.wall() < until * 1000;
  }

  /** `undefined` for what is none, or does not count; the log says why at the level debug. */
  async verify(token: string): Promise<Verified | undefined> {
    if (token.length > MAX_LENGTH || !isJwt(token) || this.#parts.issuers.length === 0) {
      return undefined;
    }
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#verified.get(hash);
    if (known?.stands()) return known.verified;
    try {
      return await this.#verify(token, hash);
    } catch (error) {
      this.#parts.log.debug({ reason: (error as Error).message }, TEXTS.jwtRefused);
      return undefined;
    }
  }

  async #verify(token: string, hash: string): Promise<Verified> {
    const { clock } = this.#parts;
    const { decodeJwt, decodeProtectedHeader, jwtVerify } = await import('jose');
    const { kid = '', typ } = decodeProtectedHeader(token);
    const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : typ;
    if (!TYPES.has(type)) throw new Error(TEXTS.jwtType);
    const { issuer, key } = await this.#find(decodeJwt(token), kid);
    const now = clock.wall();
    const { payload } = await jwtVerify(token, key.key, {
      algorithms: ALGORITHMS.filter((each) => key.algorithms.includes(each)),
      issuer: issuer.iss,
      audience: issuer.audience,
      currentDate: new Date(now),
      clockTolerance: TOLERANCE_SECONDS,
      requiredClaims: ['exp', 'iat'],
    });
    const { exp = 0, iat = Infinity } = payload;
    if (iat > now / 1000 + TOLERANCE_SECONDS) throw new Error(TEXTS.jwtFuture);
    const subject = issuer.subjectOf(payload);
    if (!subject) throw new Error(TEXTS.jwtSubject);
    const verified = {
      subject,
      grant: { kind: 'issuer', issuer: issuer.mark, key: key.mark, until: exp } as const,
    };
    const stands = (): boolean => isLeft(issuer, key.mark) && !this.#isOfOther(issuer, kid);
    const leftMs = (exp + TOLERANCE_SECONDS) * 1000 - now;
    this.#verified.set(hash, { verified, stands }, Math.min(leftMs, DAY_MS), token.length);
    return verified;
  }

  /** Whether another cluster that shares the issuer has a key of this name. */
  #isOfOther(issuer: Issuer, kid: string): boolean {
    return this.#parts.issuers.some(
      (other) => other !== issuer && other.iss === issuer.iss && other.keys.current.has(kid),
    );
  }

  /** Of clusters that share an issuer the key tells which one it is. */
  async #find({ iss }: JWTPayload, kid: string): Promise<{ issuer: Issuer; key: IssuerKey }> {
    const candidates = this.#parts.issuers.filter((each) => each.iss === iss);
    await Promise.all(candidates.map(async ({ keys }) => keys.load()));
    const having = (): Issuer[] => candidates.filter(({ keys }) => keys.current.has(kid));
    if (having().length === 0) await Promise.all(candidates.map(async ({ keys }) => keys.seek()));
    const [issuer, ...others] = having();
    const key = issuer?.keys.current.get(kid);
    if (issuer && key && others.length === 0) return { issuer, key };
    if (issuer && !this.#told.has(kid)) {
      const clusters = [issuer, ...others].map(({ name }) => name);
      this.#told.set(kid, true, DAY_MS);
      this.#parts.log.error({ kid, clusters }, TEXTS.keyOfTwo);
    }
    throw new Error(TEXTS.jwtIssuer);
  }
}

/** Whether a key that has verified something still may: a pinned file is the operator's word. */
function isLeft({ keys: { isPinned, current } }: Issuer, mark: string): boolean {
  return !isPinned || current.values().some((key) => key.mark === mark);
}
