import { z } from 'zod';
import { converted } from './section.ts';
import { readSecret } from './secret.ts';
import type { Source } from './source.ts';

export const MISSING_SECRET_ADVICE = 'missing; write { file: PATH } or { env: VARIABLE }';
const SECRET_ADVICE =
  'a secret does not stand in this file; write { file: PATH } or { env: VARIABLE }';

/** A secret of the file's own folder or environment; it is read while the file is. */
export function secretSchema(source: Source) {
  return z
    .strictObject(
      {
        file: z.string().min(1).optional().describe('File that holds the secret and nothing else.'),
        env: z.string().min(1).optional().describe('Environment variable that holds the secret.'),
      },
      { error: secretError },
    )
    .meta({ minProperties: 1, maxProperties: 1 })
    .transform(converted((reference) => readSecret(reference, source)));
}

function secretError({ code, input }: z.core.$ZodRawIssue): string | undefined {
  if (code !== 'invalid_type') return undefined;
  return input === undefined ? MISSING_SECRET_ADVICE : SECRET_ADVICE;
}
