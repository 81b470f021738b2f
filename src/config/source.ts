import { readFileSync } from 'node:fs';
import { ConfigError } from './config-error.ts';

/** What a configuration file may refer to. */
export interface Source {
  /** What relative paths start from. */
  readonly directory: string;
  readonly env: Environment;
  /** The names under `upstreams`; `undefined` when the key is no map. */
  readonly upstreams?: readonly string[] | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a folder',
};

/** The text of a file that the configuration names. Throws a `ConfigError` with the path. */
export function readTextFile(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new ConfigError([`cannot read ${path}: ${REASONS[code] ?? code}`], { cause: error });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ConfigError([`${path} is not UTF-8 text`], { cause: error });
  }
}
