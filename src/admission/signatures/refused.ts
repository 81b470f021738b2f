import { REASONS } from './texts.ts';

export type RefusalCode = keyof typeof REASONS;
type Details<Code extends RefusalCode> = Parameters<(typeof REASONS)[Code]>;

/** Evidence does not count. It stays within this room: who asks is handed a `Refusal`. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, reason: string) {
    super(reason);
    this.code = code;
  }
}

export function refuse<Code extends RefusalCode>(code: Code, ...details: Details<Code>): Refused {
  const word = REASONS[code] as (...details: Details<Code>) => string;
  return new Refused(code, word(...details));
}
