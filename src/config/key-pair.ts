import { createSecureContext } from 'node:tls';
import { ConfigError } from './config-error.ts';

/** Throws a `ConfigError` unless the PEM texts are a certificate and its key. */
export function checkKeyPair(cert: string, key: string): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code = 'no code' } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      [
        code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
          ? 'the key does not belong to the certificate'
          : `TLS cannot use cert and key (${code})`,
      ],
      { cause: error },
    );
  }
}
