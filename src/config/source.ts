import { readFileSync } from 'node:fs';
import { ConfigError } from './problems.ts';
import { TEXTS } from './texts.ts';

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
  ENOENT: TEXTS.noSuchFile,
  ENOTDIR: TEXTS.noSuchFile,
  EACCES: TEXTS.permissionDenied,
  EPERM: TEXTS.permissionDenied,
  EISDIR: TEXTS.isFolder,
};

/** The text of a file that the configuration names. Throws a `ConfigError` with the path. */
export function readTextFile(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new ConfigError([TEXTS.unreadable({ path, reason: REASONS[code] ?? code })], {
      cause: error,
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ConfigError([TEXTS.notUtf8({ path })], { cause: error });
  }
}
