import {
  ADMISSION_MODES,
  ADMISSION_OUTCOMES,
  ANY,
  Declarations,
  SCAN_OUTCOMES,
} from './declarations.ts';

/** What rules of admission say of what is pulled. */
export class AdmissionMetrics extends Declarations {
  readonly verdicts = this.counter(
    'entrepot_admission_verdicts_total',
    'What rules of admission said of what was asked for: admitted, refused, or unknown (it could not be found out); under audit all of it left the mirror',
    { rule: ANY, mode: ADMISSION_MODES, outcome: ADMISSION_OUTCOMES },
  );
  readonly rootWrittenAt = this.gauge(
    'entrepot_admission_trust_root_timestamp_seconds',
    'When the file of the trust root was last written, which each refresh does; absent without one',
  );

  readonly scans = this.counter(
    'entrepot_admission_scans_total',
    'Scans that the scanner of admission was asked for and that ended: report, unscannable (nothing that it looks into), missing (it has no report) or error',
    { outcome: SCAN_OUTCOMES },
  );
  readonly scannerDatabase = this.gauge(
    'entrepot_admission_scanner_database_timestamp_seconds',
    'When the database of the scanner of admission was made, as it last said; absent where it does not say',
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    this.start(this.scans, { outcome: SCAN_OUTCOMES });
    this.scannerDatabase.remove();
  }

  /** Counters of these rules are exported with 0 before the first count. */
  startAt(rules: readonly { readonly name: string; readonly mode: string }[]): void {
    for (const { name, mode } of rules) {
      this.start(this.verdicts, { rule: [name], mode: [mode], outcome: ADMISSION_OUTCOMES });
    }
  }
}
