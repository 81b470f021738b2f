import type { ScannerDatabase, ScannerMetadata } from './scanner-metadata.ts';

/** By what an image was judged last. */
export interface JudgedBefore {
  readonly database: ScannerDatabase;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface Rejudging {
  /** `current`: what it was judged by is still what the scanner knows. */
  readonly kind: 'current' | 'due';
  /** How long the verdict of before serves; milliseconds since 1970, `undefined` for good. */
  readonly validUntil: number | undefined;
}

export interface RejudgingParts {
  readonly before: JudgedBefore;
  readonly scanner: ScannerMetadata;
  /** When a later database than that of before was first seen here, if one was. Milliseconds since 1970. */
  readonly overtakenAt: number;
  /** How long a verdict serves that another database has overtaken. */
  readonly maxAgeMs: number;
  readonly now: number;
}

/**
 * Whether a verdict must be renewed. A database that is older than the one before is none to judge anew
 * by: one of two scanners that take turns, or one that was set back, would admit what the newer one
 * refuses. Of a scanner that does not tell how old its database is, a verdict is renewed after half of
 * `maxAge`, so that the new one is there when the old one ends.
 */
export function planRejudging({
  before,
  scanner,
  overtakenAt,
  maxAgeMs,
  now,
}: RejudgingParts): Rejudging {
  const { version, updatedAt } = scanner.database;
  const isSame = version === before.database.version;
  const ofBefore = before.database.updatedAt;
  if (updatedAt !== undefined && ofBefore !== undefined) {
    if (isSame || updatedAt < ofBefore) {
      return { kind: 'current', validUntil: undefined };
    }
    return { kind: 'due', validUntil: overtakenAt + maxAgeMs };
  }
  // By a clock that was set back since: nobody knows how old it is.
  const validUntil = before.at > now ? now : before.at + maxAgeMs;
  const isYoung = now < validUntil - maxAgeMs / 2;
  return { kind: isSame && isYoung ? 'current' : 'due', validUntil };
}
