import { ADMISSION_MODES, ADMISSION_OUTCOMES, Declarations } from './declarations.ts';

/** What rules of admission say of what is pulled. */
export class AdmissionMetrics extends Declarations {
  readonly verdicts = this.counter(
    'entrepot_admission_verdicts_total',
    'What rules of admission said of what was asked for: admitted, refused, or unknown (it could not be found out); under audit all of it left the mirror',
    { mode: ADMISSION_MODES, outcome: ADMISSION_OUTCOMES },
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    this.start(this.verdicts, { mode: ADMISSION_MODES, outcome: ADMISSION_OUTCOMES });
  }
}
