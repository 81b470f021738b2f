import { z } from 'zod';
import { duration, durationOrForever } from './duration.ts';
import { parseTagGlob } from './glob.ts';
import { checked, section } from './section.ts';
import { TEXTS } from './texts.ts';

const MAX_REVALIDATE_TIMEOUT_MS = 3_600_000;

export const tagsSchema = section({
  ttl: durationOrForever
    .prefault('5m')
    .describe('How long a tag is answered without asking upstream.'),
  revalidateTimeout: duration
    .refine((ms) => ms > 0, TEXTS.revalidateAtOnce)
    .refine((ms) => ms <= MAX_REVALIDATE_TIMEOUT_MS, TEXTS.atMost({ limit: '"1h"' }))
    .prefault('2s')
    .describe('How long a client waits for upstream when a copy is held. At most 1h.'),
  staleIfError: durationOrForever
    .prefault('forever')
    .describe('How old a held tag may be and still be answered when upstream fails.'),
  staleWhileRevalidate: durationOrForever
    .prefault('0s')
    .describe('How long past the ttl a held tag is answered at once while upstream is asked.'),
  negativeTtl: duration.prefault('30s').describe("How long upstream's 404 is believed."),
  immutable: z
    .array(z.string().regex(/.:./, { error: TEXTS.tagGlob }).transform(checked(parseTagGlob)))
    .prefault([])
    .describe('Patterns of repository:tag that are never asked for again once they are held.'),
});
