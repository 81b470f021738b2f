import { resolve } from 'node:path';
import * as z from 'zod';
import { ConfigError } from './problems.ts';
import { converted } from './section.ts';
import { readTextFile, type Source } from './source.ts';
import { TEXTS } from './texts.ts';

export interface Secret {
  readonly text: string;
  /** Absolute; `undefined` for one of the environment, which stays as it is. */
  readonly file: string | undefined;
}

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
      { error: secretError(source.env) },
    )
    .meta({ title: 'secret', minProperties: 1, maxProperties: 1 })
    .transform(
      converted(({ file: written, env }): Secret => {
        if ((written === undefined) === (env === undefined)) {
          throw new ConfigError([TEXTS.secretTwice]);
        }
        const file = written === undefined ? undefined : resolve(source.directory, written);
        const text =
          file === undefined ? readVariable(env ?? '', source.env) : readSecretFile(file);
        return { text, file };
      }),
    );
}

/** One that is sent as a bearer token. */
export function bearerSchema(source: Source) {
  return secretSchema(source).refine(({ text }) => isBearer(text), TEXTS.bearer);
}

/** Whether a header can have it. */
export function isBearer(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

function secretError(env: Source['env']) {
  return ({ code, input }: z.core.$ZodRawIssue): string | undefined => {
    if (code !== 'invalid_type') return undefined;
    if (input === undefined) return TEXTS.secretMissing;
    const name = typeof input === 'string' ? findVariable(input, env) : undefined;
    return name === undefined ? TEXTS.secretInFile : TEXTS.secretOfVariable({ name });
  };
}

/** The variable of `${HUB}` or `${HUB:-…}`; `$HUB` may as well be a secret, unless it is set. */
function findVariable(text: string, env: Source['env']): string | undefined {
  const [, braced, bare] =
    /^\$(?:\{([A-Za-z_]\w*)(?:[:?+=-].*)?\}|([A-Za-z_]\w*))$/.exec(text) ?? [];
  return braced ?? (bare !== undefined && bare in env ? bare : undefined);
}

/** Without the file's last line end. */
export function readSecretFile(path: string): string {
  const secret = readTextFile(path).replace(/\r?\n$/, '');
  if (secret === '') throw new ConfigError([TEXTS.secretFileEmpty({ path })]);
  return secret;
}

function readVariable(name: string, env: Source['env']): string {
  const meant = findVariable(name, env);
  if (meant !== undefined) throw new ConfigError([TEXTS.secretOfVariable({ name: meant })]);
  const secret = env[name];
  if (secret === undefined) throw new ConfigError([TEXTS.variableNotSet({ name })]);
  if (secret === '') throw new ConfigError([TEXTS.variableEmpty({ name })]);
  return secret;
}
