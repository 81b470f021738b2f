import { stat } from 'node:fs/promises';
import type { Config } from '../config/config.ts';
import { HeldFiles } from '../config/held-files.ts';
import { findStores } from '../config/notation-stores.ts';
import { readTextFile } from '../config/source.ts';
import type { Log } from '../observe/log.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import type { Notation } from './notation/notation.ts';
import type { Sigstore } from './signatures/sigstore.ts';

type TrustConfig = NonNullable<Config['admission']>['trust'];

/** Whom signatures are traced back to, as the files say it now. */
export interface Trusted {
  /** Over all that the files hold, so that a verdict tells by which of them it was reached. */
  readonly digest: Digest;
  readonly sigstore: Sigstore;
  /** Left out where no stores are configured. */
  readonly notation?: Notation;
}

/**
 * The files of keys, of the trust root and of Notation's stores: looked at whenever they are wanted, and read again
 * when they have changed; while one cannot be used, those of before count. What verifies is loaded when it is first
 * wanted.
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
    const [readSigstore, readNotation] = await Promise.all([
      this.#openSigstore(),
      this.#openNotation(),
    ]);
    const { sigstore, keys, notation } = this.#config;
    const root = sigstore ? [sigstore.trustedRoot] : [];
    // What is in the folders is found at each reading.
    let places: readonly string[] = notation ? [notation.stores] : [];
    const read = (): Trusted => {
      if (notation) places = placesOf(notation.stores);
      const ofSigstore = readSigstore();
      const ofNotation = readNotation?.();
      const digest = digestOf(
        Buffer.from(JSON.stringify([ofSigstore.rests, ...(ofNotation ? [ofNotation.rests] : [])])),
      );
      const { sigstore: verifier } = ofSigstore;
      return { digest, sigstore: verifier, ...(ofNotation && { notation: ofNotation.notation }) };
    };
    return new HeldFiles({
      paths: [...root, ...Object.values(keys).map(({ file }) => file)],
      get places() {
        return places;
      },
      read,
      failed: (reason) => this.#log.error({ reason }, 'whose signatures count stays as it was'),
      renewed: ({ digest }) => this.#log.info({ digest }, 'whose signatures count is read again'),
    });
  }

  async #openSigstore(): Promise<() => { sigstore: Sigstore; rests: unknown }> {
    const [{ Sigstore }, { TrustRoot }, { parsePublicKey }] = await Promise.all([
      import('./signatures/sigstore.ts'),
      import('./signatures/trust-root.ts'),
      import('./signatures/signing-key.ts'),
    ]);
    const { sigstore, keys } = this.#config;
    return () => {
      const root = sigstore && readTextFile(sigstore.trustedRoot);
      const texts = Object.entries(keys).map(
        ([name, { file }]) => [name, readTextFile(file)] as const,
      );
      const parsed = root === undefined ? undefined : TrustRoot.parse(Buffer.from(root));
      const known = new Map(texts.map(([name, text]) => [name, parsePublicKey(text)] as const));
      return { sigstore: new Sigstore({ root: parsed, keys: known }), rests: [root, texts] };
    };
  }

  async #openNotation(): Promise<(() => { notation: Notation; rests: unknown }) | undefined> {
    const stores = this.#config.notation?.stores;
    if (stores === undefined) return undefined;
    const [{ Notation }, { readTrustStores }] = await Promise.all([
      import('./notation/notation.ts'),
      import('./notation/trust-stores.ts'),
    ]);
    return () => {
      const trusted = readTrustStores(stores);
      const rests = Object.entries(trusted).map(([type, certificates]) => [
        type,
        certificates.map(({ der }) => der.toString('base64')),
      ]);
      return { notation: new Notation(trusted), rests };
    };
  }
}

function placesOf(folder: string): readonly string[] {
  const { files, places } = findStores(folder);
  return [...places, ...files.map(({ path }) => path)];
}
