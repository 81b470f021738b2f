import { isRecord } from './bounded-json.ts';
import type { Finding } from './report.ts';
import type { ScannerDatabase } from './scanner-metadata.ts';

/** What a scanner found in an image, as it is kept. */
export interface KeptScan {
  readonly version: 1;
  /** The repository with its upstream through which it was scanned. */
  readonly of: string;
  /** The type of what was scanned. */
  readonly mediaType: string;
  /** Milliseconds since 1970: when the report came. */
  readonly at: number;
  readonly database: ScannerDatabase;
  readonly findings: readonly Finding[];
}

/** `undefined` for what another version has written. */
export function asKeptScan(value: unknown): KeptScan | undefined {
  return isRecord(value) && value['version'] === 1 ? (value as unknown as KeptScan) : undefined;
}
