import type { VulnerabilityReport } from './report.ts';
import type { ScanFaultCode } from './scan-fault.ts';
import type { ScannerDatabase } from './scanner-metadata.ts';

/** What came of a scan. What follows from it is the policy's: it has a key for each kind but the first. */
export type ScanOutcome =
  | {
      readonly kind: 'report';
      readonly report: VulnerabilityReport;
      /** That the scanner had before it began. */
      readonly database: ScannerDatabase;
    }
  /** The adapter cannot scan such an artifact: `unscannable`. */
  | { readonly kind: 'unscannable'; readonly reason: string }
  /** The adapter has no report, also after a second scan: `onMissing`. */
  | { readonly kind: 'missing'; readonly reason: string }
  /** `onError`. */
  | { readonly kind: 'error'; readonly code: ScanFaultCode; readonly reason: string };
