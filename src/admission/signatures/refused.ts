import { REASONS } from './texts.ts';

type RefusalCode = keyof typeof REASONS;
type Details<Code extends RefusalCode> = Parameters<(typeof REASONS)[Code]>;

/** Evidence does not count, for a reason with a code. Who asks is handed a `Refusal`: it is thrown no further. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: string;

  constructor(code: string, reason: string) {
    super(reason);
    this.code = code;
  }
}

export function refuse<Code extends RefusalCode>(code: Code, ...details: Details<Code>): Refused {
  const word = REASONS[code] as (...details: Details<Code>) => string;
  return new Refused(code, word(...details));
}
