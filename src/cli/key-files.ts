import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { SigningKey } from '../../sync/bundle/signing-key.ts';
import { TrustedKey } from '../../sync/bundle/trusted-key.ts';
import { UsageError } from './command-context.ts';
import { touchFile } from './touch-file.ts';
import { TEXTS } from './texts.ts';

/** Throws `UsageError` with the path, for a file that cannot be read and for one that is no private key. */
export function readSigningKey(file: string, cwd: string): SigningKey {
  return readKey(file, cwd, (pem) => SigningKey.read(pem));
}

/** Throws `UsageError` with the path, for a file that cannot be read and for one that is no public key. */
export function readTrustedKey(file: string, cwd: string): TrustedKey {
  return readKey(file, cwd, (pem) => TrustedKey.read(pem));
}

function readKey<Key>(file: string, cwd: string, read: (pem: string) => Key): Key {
  const path = resolve(cwd, file);
  const pem = touchFile(() => readFileSync(path, 'latin1'), path, TEXTS.keyUnreadable);
  try {
    return read(pem);
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    throw new UsageError(`${path}: ${error.message}`, { cause: error });
  }
}
