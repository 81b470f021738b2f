import { Cron } from 'croner';
import { ConfigError } from './config-error.ts';
import { TEXTS } from './texts.ts';

const FORM = /^(?:\S+\s+){4,5}\S+$|^@[a-z]+$/i;

/**
 * A cron expression of five fields, or six with seconds first, that is due at some time from now
 * on. Throws a `ConfigError`.
 */
export function parseCron(text: string): string {
  if (!FORM.test(text.trim()))
    throw new ConfigError([TEXTS.notThis({ advice: TEXTS.cronForm, text })]);
  if (!findNextRun(text.trim())) {
    throw new ConfigError([TEXTS.cronNever({ text })]);
  }
  return text.trim();
}

function findNextRun(text: string): Date | null {
  try {
    return new Cron(text, { paused: true, mode: '5-or-6-parts' }).nextRun();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    const fault = error.message.replace(/^CronPattern: /, '');
    throw new ConfigError([TEXTS.cronFault({ advice: TEXTS.cronForm, fault })], { cause: error });
  }
}

/** The name of a time zone that has rules, not only an offset. Throws a `ConfigError`. */
export function parseTimeZone(text: string): string {
  if (/^[A-Z]/i.test(text) && isKnown(text)) return text;
  throw new ConfigError([TEXTS.notThis({ advice: TEXTS.timeZone, text })]);
}

function isKnown(timeZone: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}
