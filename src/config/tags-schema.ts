import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import {
  durationText,
  durationTextOrForever,
  parseDuration,
  parseDurationOrForever,
} from './duration.ts';
import { parseTagGlob } from './glob.ts';
import { checked, converted, section } from './section.ts';
import { TEXTS } from './texts.ts';

const MAX_REVALIDATE_TIMEOUT_MS = 3_600_000;

export const tagsSchema = section({
  ttl: durationTextOrForever
    .transform(converted(parseDurationOrForever))
    .prefault('5m')
    .describe('How long a tag is answered without asking upstream.'),
  revalidateTimeout: durationText
    .transform(converted(parseRevalidateTimeout))
    .prefault('2s')
    .describe('How long a client waits for upstream when a copy is held. At most 1h.'),
  staleIfError: durationTextOrForever
    .transform(converted(parseDurationOrForever))
    .prefault('forever')
    .describe('How old a held tag may be and still be answered when upstream fails.'),
  staleWhileRevalidate: durationTextOrForever
    .transform(converted(parseDurationOrForever))
    .prefault('0s')
    .describe('How long past the ttl a held tag is answered at once while upstream is asked.'),
  negativeTtl: durationText
    .transform(converted(parseDuration))
    .prefault('30s')
    .describe("How long upstream's 404 is believed."),
  immutable: z
    .array(
      z
        .string()
        .regex(/.:./, {
          error: TEXTS.tagGlob,
        })
        .transform(checked(parseTagGlob)),
    )
    .prefault([])
    .describe('Patterns of repository:tag that are never asked for again once they are held.'),
});

function parseRevalidateTimeout(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === 0) {
    throw new ConfigError([TEXTS.revalidateAtOnce]);
  }
  if (milliseconds > MAX_REVALIDATE_TIMEOUT_MS)
    throw new ConfigError([TEXTS.atMost({ limit: '"1h"' })]);
  return milliseconds;
}
