import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { TEXTS } from './texts.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const UNITS = { d: DAY, h: HOUR, m: MINUTE, s: SECOND, ms: 1 } as const;

/** The written form of a duration, for editors; at least one part must be there. */
const DURATION = /^(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;

/** Milliseconds of `5m`, `1h30m` or `0s`. Throws a `ConfigError` that says what to write. */
export function parseDuration(text: string): number {
  const parts = DURATION.exec(text)?.slice(1);
  const milliseconds = Object.values(UNITS).reduce(
    (sum, unit, position) => sum + Number(parts?.[position] ?? 0) * unit,
    0,
  );
  if (!parts || !Number.isSafeInteger(milliseconds)) {
    throw new ConfigError([TEXTS.notThis({ advice: TEXTS.duration, text })]);
  }
  return milliseconds;
}

/** As `parseDuration`, and `forever` is `Infinity`. */
export function parseDurationOrForever(text: string): number {
  return text === 'forever' ? Number.POSITIVE_INFINITY : parseDuration(text);
}

/** The shortest exact form; `parseDurationOrForever` gives the same number back. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === Number.POSITIVE_INFINITY) return 'forever';
  let rest = milliseconds;
  let text = '';
  for (const [unit, length] of Object.entries(UNITS)) {
    const count = Math.floor(rest / length);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * length;
  }
  return text === '' ? '0s' : text;
}

/** A duration of the file, in milliseconds. */
export const duration = z
  .string({ error: TEXTS.duration })
  .meta({ pattern: DURATION.source })
  .transform(converted(parseDuration));

/** As `duration`, and `forever` is `Infinity`. */
export const durationOrForever = z
  .string({ error: TEXTS.durationOrForever })
  .meta({ pattern: `${DURATION.source}|^forever$` })
  .transform(converted(parseDurationOrForever));
