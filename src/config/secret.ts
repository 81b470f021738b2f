import { resolve } from 'node:path';
import { ConfigError } from './config-error.ts';
import type { Source } from './source.ts';
import { readTextFile } from './text-file.ts';

/** Where a secret stands; exactly one of the two. */
export interface SecretReference {
  readonly file?: string | undefined;
  readonly env?: string | undefined;
}

/** The secret without the file's last line end. Throws a `ConfigError` that never holds it. */
export function readSecret({ file, env }: SecretReference, source: Source): string {
  if ((file === undefined) === (env === undefined)) {
    throw new ConfigError(['write { file: PATH } or { env: VARIABLE }, one of the two']);
  }
  return file === undefined
    ? readVariable(env ?? '', source.env)
    : readFile(resolve(source.directory, file));
}

function readFile(path: string): string {
  const secret = readTextFile(path).replace(/\r?\n$/, '');
  if (secret === '') throw new ConfigError([`${path} is empty; the secret belongs there`]);
  return secret;
}

function readVariable(name: string, env: Source['env']): string {
  const secret = env[name];
  if (secret === undefined) {
    throw new ConfigError([`the environment variable ${name} is not set`]);
  }
  if (secret === '') throw new ConfigError([`the environment variable ${name} is empty`]);
  return secret;
}
