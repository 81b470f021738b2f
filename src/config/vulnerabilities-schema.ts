import { resolve } from 'node:path';
import * as z from 'zod';
import { DIGEST } from '../oci/digest.ts';
import { parseMoment } from './moment.ts';
import { repeated } from './problems.ts';
import { mapped, validated } from './section.ts';
import { findNear } from './spelling.ts';
import { readTextFile, type Source } from './source.ts';
import { TEXTS } from './texts.ts';

/** The least first. */
export const SEVERITIES = ['unknown', 'negligible', 'low', 'medium', 'high', 'critical'] as const;
const CHOICES = ['deny', 'allow'] as const;
const NAME = /^[\x21-\x7e]{1,256}$/;

/** `rules[].vulnerabilities`: which findings an image may have, and what is done where nobody knows them. */
export function vulnerabilitiesSchema(source: Source) {
  const choice = z.enum(CHOICES, { error: TEXTS.admissionChoice }).prefault('deny');
  const file = z
    .string()
    .min(1, TEXTS.file)
    .meta({ title: 'file' })
    .transform((path) => resolve(source.directory, path))
    .transform(validated(readTextFile));
  const severities = TEXTS.admissionSeverity({ words: SEVERITIES.join(', ') });
  return mapped('atMost', {
    atMost: z
      .enum(SEVERITIES, { error: ({ input }) => wordMeant(input, SEVERITIES, severities) })
      .describe('A finding above this refuses the image.'),
    fixableOnly: z.boolean().prefault(false).describe('What no version mends does not count.'),
    vex: z
      .array(file)
      .prefault([])
      .describe('OpenVEX or CycloneDX documents that lift findings. Read again on change.'),
    unscannable: choice.describe('What the scanner cannot look into.'),
    onError: choice.describe('The scanner is down, or its answer is none.'),
    onMissing: choice.describe('Nobody has a report.'),
  })
    .exactOptional()
    .describe('Which vulnerabilities an image may have.');
}

/** The one of these words that is meant, or else what is told. */
export function wordMeant(input: unknown, words: readonly string[], told: string): string {
  const word = typeof input === 'string' ? findNear(input, words) : undefined;
  return word === undefined ? told : TEXTS.writeName({ name: word });
}

/** `rules[].exceptions`: findings, or whole images, that somebody answers for. */
export function exceptionsSchema() {
  const exception = z
    .strictObject(
      {
        cve: z
          .string()
          .regex(NAME, TEXTS.admissionException)
          .exactOptional()
          .describe('The vulnerability, by any of its names.'),
        digest: z
          .string()
          .regex(DIGEST, TEXTS.admissionException)
          .exactOptional()
          .describe('The image, or an index that lists it.'),
        reason: z.string().min(1, TEXTS.admissionException).describe('Why, for people.'),
        owner: z.string().min(1, TEXTS.admissionException).describe('Who answers for it.'),
        until: z
          .string({ error: TEXTS.moment })
          .transform(validated(parseMoment))
          .describe('When it ends: a day, which begins in UTC, or a moment.'),
      },
      { error: ({ code, input }) => (code === 'invalid_type' ? exceptionMeant(input) : undefined) },
    )
    .refine(({ cve, digest }) => (cve ?? digest) !== undefined, TEXTS.admissionException);
  return z.array(exception).exactOptional().describe('Findings that do not count until they end.');
}

function exceptionMeant(input: unknown): string {
  if (typeof input !== 'string') return TEXTS.admissionException;
  return TEXTS.admissionExceptionOf({ cve: repeated(input) });
}
