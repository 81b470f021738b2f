import { Cron } from 'croner';
import { ConfigError } from './config-error.ts';

const FORM = /^(?:\S+\s+){4,5}\S+$|^@[a-z]+$/i;
const FORM_ADVICE = 'write minute, hour, day of month, month and day of week, such as "0 22 * * *"';

/**
 * A cron expression of five fields, or six with seconds first, that is due at some time from now
 * on. Throws a `ConfigError`.
 */
export function parseCron(text: string): string {
  if (!FORM.test(text.trim())) throw new ConfigError([`${FORM_ADVICE}, not "${text}"`]);
  if (!findNextRun(text.trim())) {
    throw new ConfigError([`"${text}" never comes; write a day that its months have`]);
  }
  return text.trim();
}

function findNextRun(text: string): Date | null {
  try {
    return new Cron(text, { paused: true, mode: '5-or-6-parts' }).nextRun();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    const fault = error.message.replace(/^CronPattern: /, '');
    throw new ConfigError([`${FORM_ADVICE}; ${fault}`], { cause: error });
  }
}

/** The name of a time zone that has rules, not only an offset. Throws a `ConfigError`. */
export function parseTimeZone(text: string): string {
  if (/^[A-Z]/i.test(text) && isKnown(text)) return text;
  throw new ConfigError([`write a time zone such as Europe/Berlin or UTC, not "${text}"`]);
}

function isKnown(timeZone: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone });
    return true;
  } catch {
    return false;
  }
}
