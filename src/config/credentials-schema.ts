import { z } from 'zod';
import { converted } from './section.ts';
import { readSecret } from './secret.ts';
import type { Source } from './source.ts';

const PROVIDERS = ['ecr', 'ecr-public', 'gcp', 'acr', 'ibm', 'helper'] as const;
const USERNAME_ADVICE = 'write the name of the account';
const SHAPE_ADVICE = 'write { username: NAME, password: { file: PATH } }';
const SECRET_ADVICE =
  'a secret does not stand in this file; write { file: PATH } or { env: VARIABLE }';
const MISSING_ADVICE = 'missing; write { file: PATH } or { env: VARIABLE }';
const PROVIDER_ADVICE =
  'this version asks no cloud for credentials; write { username: NAME, password: { file: PATH } } and keep that file fresh';

/** Name and password; the password is read while the file is. */
export function credentialsSchema(source: Source) {
  return z.discriminatedUnion(
    'provider',
    [
      z
        .strictObject({
          provider: z.undefined().optional(),
          username: z.string().min(1, USERNAME_ADVICE).describe('Name of the account.'),
          password: secretSchema(source).describe('Password or access token.'),
        })
        .transform(({ username, password }) => ({
          provider: 'password' as const,
          username,
          password,
        })),
      z
        .looseObject({ provider: z.enum(PROVIDERS).describe('Not in this version: refused.') })
        .transform((_, context): never => {
          context.addIssue({ code: 'custom', path: ['provider'], message: PROVIDER_ADVICE });
          return z.NEVER;
        }),
    ],
    { error: credentialsError },
  );
}

function secretSchema(source: Source) {
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

function credentialsError({ code }: z.core.$ZodRawIssue): string {
  return code === 'invalid_union' ? PROVIDER_ADVICE : SHAPE_ADVICE;
}

function secretError({ code, input }: z.core.$ZodRawIssue): string | undefined {
  if (code !== 'invalid_type') return undefined;
  return input === undefined ? MISSING_ADVICE : SECRET_ADVICE;
}
