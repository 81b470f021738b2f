import { stat } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { readTextFile } from '../config/source.ts';
import type { Log } from '../observe/log.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import type { Sigstore } from './signatures/sigstore.ts';

type TrustConfig = NonNullable<Config['admission']>['trust'];

/** Whom signatures are traced back to, as the files say it now. */
export interface Trusted {
  /** Of all that the files hold: others have another one. */
  readonly digest: Digest;
  readonly sigstore: Sigstore;
}

/**
 * The files of keys and of the trust root: looked at whenever they are wanted, and read again when they have
 * changed; while one cannot be used, those of before count. What verifies is loaded when it is first wanted.
 */
export class Trust {
  readonly #config: TrustConfig;
  readonly #log: Log;
  #files: Promise<HeldFiles<Trusted>> | undefined;

  constructor(config: TrustConfig, log: Log) {
    this.#config = config;
    this.#log = log;
  }

  /** Throws, with the path, while there never was a whole set of files. */
  async current(): Promise<Trusted> {
    this.#files ??= this.#open();
    return (await this.#files).current;
  }

  /** Milliseconds since 1970; `undefined` where there is no such file. */
  async rootWrittenAt(): Promise<number | undefined> {
    const path = this.#config.sigstore?.trustedRoot;
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    return found?.mtimeMs;
  }

  async #open(): Promise<HeldFiles<Trusted>> {
    const [{ Sigstore }, { TrustRoot }, { parsePublicKey }] = await Promise.all([
      import('./signatures/sigstore.ts'),
      import('./signatures/trust-root.ts'),
      import('./signatures/signing-key.ts'),
    ]);
    const { sigstore, keys } = this.#config;
    const rootPath = sigstore?.trustedRoot;
    const named = Object.entries(keys).map(([name, { file }]) => [name, file] as const);
    const read = (): Trusted => {
      const root = rootPath === undefined ? undefined : readTextFile(rootPath);
      const texts = named.map(([name, file]) => [name, readTextFile(file)] as const);
      const parsed = root === undefined ? undefined : TrustRoot.parse(Buffer.from(root));
      const known = new Map(texts.map(([name, text]) => [name, parsePublicKey(text)] as const));
      const digest = digestOf(Buffer.from(JSON.stringify([root, texts])));
      return { digest, sigstore: new Sigstore({ root: parsed, keys: known }) };
    };
    return new HeldFiles({
      paths: [...(rootPath === undefined ? [] : [rootPath]), ...named.map(([, file]) => file)],
      read,
      failed: (reason) => this.#log.error({ reason }, 'whose signatures count stays as it was'),
      renewed: ({ digest }) => this.#log.info({ digest }, 'whose signatures count is read again'),
    });
  }
}
