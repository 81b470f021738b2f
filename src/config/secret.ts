import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { converted } from './section.ts';
import { type Source, readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';

/**
 * A secret in another file or in the environment, which is read at once. No problem holds it.
 */
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
    .transform(
      converted(({ file, env }) => {
        if ((file === undefined) === (env === undefined)) {
          throw new ConfigError([TEXTS.secretTwice]);
        }
        return file === undefined
          ? readVariable(env ?? '', source.env)
          : readFile(resolve(source.directory, file));
      }),
    );
}

function secretError({ code, input }: z.core.$ZodRawIssue): string | undefined {
  if (code !== 'invalid_type') return undefined;
  return input === undefined ? TEXTS.secretMissing : TEXTS.secretInFile;
}

/** Without the file's last line end. */
function readFile(path: string): string {
  const secret = readTextFile(path).replace(/\r?\n$/, '');
  if (secret === '') throw new ConfigError([TEXTS.secretFileEmpty({ path })]);
  return secret;
}

function readVariable(name: string, env: Source['env']): string {
  const secret = env[name];
  if (secret === undefined) throw new ConfigError([TEXTS.variableNotSet({ name })]);
  if (secret === '') throw new ConfigError([TEXTS.variableEmpty({ name })]);
  return secret;
}
