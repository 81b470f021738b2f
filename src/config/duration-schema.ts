import { z } from 'zod';
import { DURATION } from './duration.ts';

/** The text of a duration; `parseDuration` reads it. */
export const durationText = z
  .string({ error: 'write a duration such as "5m" or "1h30m"' })
  .meta({ pattern: DURATION.source });

/** As `durationText`, or `forever`; `parseDurationOrForever` reads it. */
export const durationTextOrForever = z
  .string({ error: 'write a duration such as "5m" or "1h30m", or forever' })
  .meta({ pattern: `${DURATION.source}|^forever$` });
