import { Refused } from '../signatures/refused.ts';
import { REASONS } from './texts.ts';

type Code = keyof typeof REASONS;

/** What is thrown where a Notation signature does not count. */
export function refuse<Name extends Code>(
  code: Name,
  ...details: Parameters<(typeof REASONS)[Name]>
): Refused {
  const word = REASONS[code] as (...details: Parameters<(typeof REASONS)[Name]>) => string;
  return new Refused(code, word(...details));
}
