import { HeldFiles } from '../config/held-files.ts';
import { parseJwks, type KeySet } from '../config/jwks.ts';
import { readTextFile } from '../config/source.ts';
import type { Log } from '../observe/log.ts';
import type { IssuerKeys } from './issuer-keys.ts';

export interface PinnedKeysParts {
  readonly path: string;
  /** As rules name it: `oidc:corp`. */
  readonly issuer: string;
  readonly log: Log;
}

/** Those of a file, which is read again when it changes; while it cannot be read, those of before. */
export class PinnedKeys implements IssuerKeys {
  readonly isPinned = true;
  readonly #files: HeldFiles<KeySet>;

  constructor({ path, issuer, log }: PinnedKeysParts) {
    this.#files = new HeldFiles({
      paths: [path],
      read: () => parseJwks(readTextFile(path), path),
      failed: (reason) => log.error({ issuer, reason }, 'the keys of an issuer stay as they were'),
      renewed: (now) =>
        log.info({ issuer, keys: now.size }, 'the keys of an issuer are read again'),
    });
  }

  get current(): KeySet {
    try {
      return this.#files.current;
    } catch {
      // It went away between the reading of the configuration and the first login.
      return new Map();
    }
  }

  async load(): Promise<void> {}

  async seek(): Promise<void> {}
}
