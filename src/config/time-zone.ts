import { ConfigError } from './config-error.ts';

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
