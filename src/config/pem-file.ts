import { resolve } from 'node:path';
import { ConfigError } from './config-error.ts';
import { readTextFile } from './text-file.ts';

export interface PemFile {
  /** Absolute. */
  readonly path: string;
  readonly contents: string;
}

const MARK = '-----BEGIN ';

/** Throws a `ConfigError` when the file cannot be read or holds no PEM block. */
export function readPemFile(path: string, directory: string): PemFile {
  if (path.includes(MARK)) {
    throw new ConfigError(['write the path of a PEM file, not what is in it']);
  }
  const absolute = resolve(directory, path);
  const contents = readTextFile(absolute);
  if (!contents.includes(MARK)) throw new ConfigError([`${absolute} is not a PEM file`]);
  return { path: absolute, contents };
}
