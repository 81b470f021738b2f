import type { Digest } from '../../oci/digest.ts';

/**
 * What a scanner said of manifests, the same in every repository, and of itself; the form is that of who
 * keeps it. One record a held manifest at most, which ends with it. No journal has them: a catalog that is
 * made anew costs as many scans.
 */
export interface ScanRecords {
  find(digest: Digest): Promise<unknown>;
  /** Nothing is recorded of a manifest that is not held. */
  record(digest: Digest, scan: object): Promise<void>;
  /** Those that have a record, in byte order. */
  digests(): Promise<Digest[]>;
  findScanner(): Promise<unknown>;
  recordScanner(scanner: object): Promise<void>;
}
