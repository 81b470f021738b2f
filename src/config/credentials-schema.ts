import { z } from 'zod';
import { converted, refused } from './section.ts';
import { readSecret, SECRET_ADVICE } from './secret.ts';
import type { Source } from './source.ts';

const SHAPE_ADVICE = 'write { username: NAME, password: { file: PATH } }';
const PROVIDER_ADVICE =
  'this version asks no cloud for credentials; write { username: NAME, password: { file: PATH } } and keep that file fresh';

/** Name and password; the password is read while the file is. */
export function credentialsSchema(source: Source) {
  return z.discriminatedUnion(
    'provider',
    [
      z.strictObject({
        provider: z.undefined().optional(),
        username: z.string({ error: 'write the name of the account' }).min(1, 'write the name of the account').describe('Name of the account.'),
        password: secretSchema(source).describe('Password or access token.'),
      }),
      z.looseObject({
        provider: refused(
          z.enum(['ecr', 'ecr-public', 'gcp', 'acr', 'ibm', 'helper']),
          PROVIDER_ADVICE,
        ).describe('Not in this version.'),
      }),
    ],
    { error: (issue) => (issue.code === 'invalid_union' ? PROVIDER_ADVICE : SHAPE_ADVICE) },
  );
}

function secretSchema(source: Source) {
  return z
    .strictObject(
      {
        file: z.string().min(1).optional().describe('File that holds the secret and nothing else.'),
        env: z.string().min(1).optional().describe('Environment variable that holds the secret.'),
      },
      { error: (issue) => (issue.code === 'invalid_type' ? SECRET_ADVICE : undefined) },
    )
    .meta({ minProperties: 1, maxProperties: 1 })
    .transform(converted((reference) => readSecret(reference, source)));
}
