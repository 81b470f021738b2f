import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

const MOMENT = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** Milliseconds since 1970 of a day, which begins at midnight in UTC, or of a moment with its zone. Throws a `ConfigError`. */
export function parseMoment(text: string): number {
  const at = MOMENT.test(text) ? Date.parse(text) : Number.NaN;
  const isDay =
    !Number.isNaN(at) &&
    new Date(Date.parse(`${text.slice(0, 10)}Z`)).getUTCDate() === Number(text.slice(8, 10));
  if (isDay) return at;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.moment, text })]);
}
