import { REASONS } from './texts.ts';

type Reasons = Readonly<Record<string, (...details: never[]) => string>>;

/** Evidence does not count, for a reason with a code. Who asks is handed a `Refusal`: it is thrown no further. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: string;

  constructor(code: string, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** What words a refusal by these reasons: `throw refuse('too-large', { most })`. */
export function refuseBy<Known extends Reasons>(reasons: Known) {
  return <Code extends keyof Known & string>(
    code: Code,
    ...details: Parameters<Known[Code]>
  ): Refused => new Refused(code, reasons[code]!(...(details as never[])));
}

export const refuse = refuseBy(REASONS);
