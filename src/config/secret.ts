import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { type Source, readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';

/** A secret in another file or in the environment, which is read at once. */
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
  return input === undefined ? TEXTS.secretMissing : TEXTS.secretInFile;
}

/** The place of a secret: exactly one of the two. */
export interface SecretReference {
  readonly file?: string | undefined;
  readonly env?: string | undefined;
}

/** The secret without the file's last line end. Throws a `ConfigError` that never holds it. */
export function readSecret({ file, env }: SecretReference, source: Source): string {
  if ((file === undefined) === (env === undefined)) {
    throw new ConfigError([TEXTS.secretTwice]);
  }
  return file === undefined
    ? readVariable(env ?? '', source.env)
    : readFile(resolve(source.directory, file));
}

function readFile(path: string): string {
  const secret = readTextFile(path).replace(/\r?\n$/, '');
  if (secret === '') throw new ConfigError([TEXTS.secretFileEmpty({ path })]);
  return secret;
}

function readVariable(name: string, env: Source['env']): string {
  const secret = env[name];
  if (secret === undefined) {
    throw new ConfigError([TEXTS.variableNotSet({ name })]);
  }
  if (secret === '') throw new ConfigError([TEXTS.variableEmpty({ name })]);
  return secret;
}
