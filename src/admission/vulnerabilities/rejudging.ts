import type { Digest } from '../../oci/digest.ts';
import type { ScannerDatabase, ScannerMetadata } from './scanner-metadata.ts';

/** An SBOM of an image that is held here as an artifact. */
export interface HeldSbom {
  /** Of its manifest. */
  readonly digest: Digest;
  readonly mediaType: string;
}

/** By what an image was judged last. */
export interface JudgedBefore {
  readonly database: ScannerDatabase;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly sbom?: HeldSbom | undefined;
}

/** How an image is judged anew. */
export type Rejudging =
  /** What it was judged by is still what the scanner knows. */
  | {
      readonly kind: 'current';
      readonly databaseVersion: string;
      readonly validUntil: number | undefined;
    }
  | {
      readonly kind: 'due';
      readonly databaseVersion: string;
      /** Milliseconds since 1970: so long the verdict of before serves. */
      readonly validUntil: number;
      /** `sbom`: the adapter scans the SBOM, and no layer is touched; else the image, in the background. */
      readonly by: { readonly kind: 'sbom'; readonly sbom: HeldSbom } | { readonly kind: 'scan' };
    };

export interface RejudgingParts {
  readonly before: JudgedBefore;
  readonly scanner: ScannerMetadata;
  /** When the version that the scanner has now was first seen here. Milliseconds since 1970. */
  readonly seenAt: number;
  /** How long a verdict serves that another database has overtaken. */
  readonly maxAgeMs: number;
  readonly now: number;
}

/**
 * Whether a verdict must be renewed. A database that is older than the one before is none to judge anew
 * by: one of two scanners that take turns, or one that was set back, would admit what the newer one
 * refuses. Of a scanner that does not tell how old its database is, a verdict is renewed after half of
 * `maxAge`, so that the new one is there when the old one ends.
 *
 * Harbor's API has no call for an SBOM. An adapter takes one where it lists the media type among those
 * that its vulnerability capability consumes: then the SBOM's own manifest is the artifact of the scan.
 */
export function planRejudging(parts: RejudgingParts): Rejudging {
  const { before, scanner, seenAt, maxAgeMs, now } = parts;
  const { version, updatedAt } = scanner.database;
  const isSame = version === before.database.version;
  const ofBefore = before.database.updatedAt;
  if (updatedAt !== undefined && ofBefore !== undefined) {
    if (isSame || updatedAt < ofBefore) {
      return { kind: 'current', databaseVersion: before.database.version, validUntil: undefined };
    }
    return due(parts, seenAt + maxAgeMs);
  }
  // By a clock that was set back since: nobody knows how old it is.
  const validUntil = before.at > now ? now : before.at + maxAgeMs;
  const isYoung = now < validUntil - maxAgeMs / 2;
  if (isSame && isYoung) return { kind: 'current', databaseVersion: version, validUntil };
  return due(parts, validUntil);
}

function due({ before: { sbom }, scanner }: RejudgingParts, validUntil: number): Rejudging {
  const databaseVersion = scanner.database.version;
  const consumes = scanner.vulnerability?.consumes ?? [];
  const isTaken = sbom !== undefined && consumes.includes(sbom.mediaType.toLowerCase());
  const by = isTaken ? ({ kind: 'sbom', sbom } as const) : ({ kind: 'scan' } as const);
  return { kind: 'due', databaseVersion, validUntil, by };
}
