import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { ConfigError } from './config-error.ts';
import { readTextFile } from './source.ts';
import { TEXTS } from './texts.ts';

export interface PemFile {
  /** Absolute. */
  readonly path: string;
  readonly contents: string;
}

const MARK = '-----BEGIN ';

/** Throws a `ConfigError` when the file cannot be read or holds no PEM block. */
export function readPemFile(path: string, directory: string): PemFile {
  if (path.includes(MARK)) {
    throw new ConfigError([TEXTS.pemContents]);
  }
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
