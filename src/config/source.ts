import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
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

interface PemFile {
  /** Absolute. */
  readonly path: string;
  readonly contents: string;
}

const MARK = '-----BEGIN ';

/** Throws a `ConfigError` when the file cannot be read or holds no PEM block. */
export function readPemFile(path: string, directory: string): PemFile {
  if (path.includes(MARK)) throw new ConfigError([TEXTS.pemContents]);
  const absolute = resolve(directory, path);
  const contents = readTextFile(absolute);
  if (!contents.includes(MARK)) throw new ConfigError([TEXTS.notPem({ path: absolute })]);
  return { path: absolute, contents };
}

/** Throws a `ConfigError` unless the PEM texts are a certificate and its key. */
export function checkKeyPair(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      [
        code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
          ? TEXTS.keyOfOther
          : TEXTS.keyPairUnusable({ code }),
      ],
      { cause: error },
    );
  }
}
