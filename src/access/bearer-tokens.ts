import type { JWTPayload } from 'jose';
import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../time/clock.ts';
import { ExpiringMap } from '../time/expiring-map.ts';
import type { AccessKeys } from './access-keys.ts';
import type { Subject } from './subject.ts';

/** What makes a token count no more before its end: a user whose password changed, a revoked token. */
export type Grant =
  | { readonly kind: 'none' }
  | { readonly kind: 'user'; readonly user: string; readonly mark: string }
  | { readonly kind: 'token'; readonly id: string }
  | {
      readonly kind: 'issuer';
      /** As it is configured now. */
      readonly issuer: string;
      /** By which it has signed the JWT. */
      readonly key: string;
      /** Then the JWT ends; seconds since 1970. */
      readonly until: number;
    }
  | {
      readonly kind: 'certificate';
      /** By the wall clock; the token ends with it. */
      readonly endsAt: number;
      readonly authorities: readonly string[];
    };

/** `of`: the repository with its upstream. */
export interface ScannedImage {
  readonly of: string;
  readonly digest: Digest;
}

/** What a token of ours says. */
export interface Claims {
  readonly subject: Subject;
  readonly grant: Grant;
  /** Names of repositories as the client wrote them: the token is for these alone. */
  readonly repositories: readonly string[];
  /** Lists of repositories may be asked for. */
  readonly catalog: boolean;
  /** A scanner's pass: it is for this image alone. */
  readonly image?: ScannedImage;
}

export interface BearerTokensParts {
  readonly keys: Pick<AccessKeys, 'signing' | 'find'>;
  readonly clock: Clock;
  /** `iss` and `aud`. */
  readonly service: string;
  readonly ttlMs: number;
}

const ALGORITHM = 'ES256';
const TYPE = 'entrepot+jwt';
/** Verified ones are remembered, so many and so many bytes of them: anybody may have long ones. */
const MAX_REMEMBERED = 20_000;
const MAX_REMEMBERED_BYTES = 16 * 2 ** 20;
/** Longer ones are none of ours: one for a hundred repositories has 12 KiB. */
const MAX_LENGTH = 16 * 1024;
const TOLERANCE_SECONDS = 5;

/**
 * The short-lived tokens that clients get for their credentials. They say who asked and for which
 * repositories; what that subject may do is judged at each pull.
 */
export class BearerTokens {
  readonly #parts: BearerTokensParts;
  readonly #verified: ExpiringMap<string, Claims>;

  constructor(parts: BearerTokensParts) {
    this.#parts = parts;
    const limits = { max: MAX_REMEMBERED, maxBytes: MAX_REMEMBERED_BYTES };
    this.#verified = new ExpiringMap({ ...limits, clock: parts.clock });
  }

  async issue(claims: Claims): Promise<{ token: string; expiresIn: number; issuedAt: number }> {
    const { keys, clock, service, ttlMs } = this.#parts;
    const key = await keys.signing();
    const issuedAt = Math.floor(clock.wall() / 1000);
    const { grant } = claims;
    const leftMs = endOf(grant) - issuedAt * 1000;
    const expiresIn = Math.floor(Math.min(ttlMs, leftMs) / 1000);
    const { SignJWT } = await import('jose');
    const token = await new SignJWT({ ent: claims })
      .setProtectedHeader({ alg: ALGORITHM, kid: key.id, typ: TYPE })
      .setIssuer(service)
      .setAudience(service)
      .setSubject(claims.subject.names[0] ?? '')
      .setIssuedAt(issuedAt)
      .setNotBefore(issuedAt)
      .setExpirationTime(issuedAt + expiresIn)
      .sign(key.privateKey);
    return { token, expiresIn, issuedAt };
  }

  /** What one says that was verified before: this is part of each pull, and no hash. */
  recall(token: string): Claims | undefined {
    return this.#verified.get(token);
  }

  /** `undefined` for what is none of ours, or does not count. */
  async verify(token: string): Promise<Claims | undefined> {
    if (token.length > MAX_LENGTH) return undefined;
    const known = this.recall(token);
    if (known) return known;
    const { keys, clock, service, ttlMs } = this.#parts;
    try {
      const { decodeProtectedHeader, jwtVerify } = await import('jose');
      const { kid, alg } = decodeProtectedHeader(token);
      const key = keys.find(kid);
      if (!key || alg !== ALGORITHM) return undefined;
      const now = clock.wall();
      const { payload } = await jwtVerify(token, key.publicKey, {
        algorithms: [ALGORITHM],
        typ: TYPE,
        issuer: service,
        audience: service,
        currentDate: new Date(now),
        clockTolerance: TOLERANCE_SECONDS,
        requiredClaims: ['exp', 'iat', 'nbf'],
      });
      const claims = readClaims(payload);
      // However the clock was set since it was made.
      const leftMs = Math.min(ttlMs, Number(payload.exp) * 1000 - now);
      this.#verified.set(token, claims, leftMs, token.length);
      return claims;
    } catch {
      return undefined;
    }
  }
}

/** A token ends no later than what it was given for; milliseconds since 1970. */
function endOf(grant: Grant): number {
  if (grant.kind === 'issuer') return grant.until * 1000;
  return grant.kind === 'certificate' ? grant.endsAt : Infinity;
}

/** Signed by ourselves, so of our own form. */
function readClaims({ ent }: JWTPayload): Claims {
  return ent as Claims;
}
