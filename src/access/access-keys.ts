import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import { readOwn, writeOwn } from '../store/own-file.ts';
import type { Clock } from '../time/clock.ts';

export interface AccessKey {
  readonly id: string;
  readonly createdAt: number;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

interface Written {
  readonly id: string;
  readonly createdAt: number;
  readonly pem: string;
}

export interface AccessKeysParts {
  readonly clock: Clock;
  /** The file cannot be read: all clients log in once more. */
  readonly damaged: (reason: string, path: string) => void;
  /** It cannot be written, told once: the keys count until the process ends. */
  readonly unwritten: (reason: string, path: string) => void;
}

const MAX_BYTES = 64 * 1024;
/** The newest, and the one before. */
const MAX_KEYS = 2;
const CURVE = 'prime256v1';
/** A new key is made after this time; the one before it verifies for as long again. */
const ROTATE_MS = 30 * 86_400_000;
/** A disk that refused the keys is asked again after this time. */
const RETRY_MS = 60_000;

/**
 * The keys by which the mirror's own tokens are signed, in one file of the store: the newest signs, the
 * one before it still verifies, so that a rotation refuses nobody.
 */
export class AccessKeys {
  readonly #path: string;
  readonly #parts: AccessKeysParts;
  #keys: readonly AccessKey[];
  /** Requests that come while a key is made have the same one. */
  #making: Promise<AccessKey> | undefined;
  /** A moment of the steady clock; the keys are in no file while there is one. */
  #writtenNotBefore: number | undefined;
  #isTold = false;

  static async open(storePath: string, parts: AccessKeysParts): Promise<AccessKeys> {
    const path = join(storePath, 'access-keys.json');
    try {
      return new AccessKeys(path, parts, parse(await readOwn(path, MAX_BYTES)));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Words about keys are left out: they may quote them.
      parts.damaged(code ?? 'not of its form', path);
      return new AccessKeys(path, parts, []);
    }
  }

  private constructor(path: string, parts: AccessKeysParts, keys: readonly AccessKey[]) {
    this.#path = path;
    this.#parts = parts;
    this.#keys = keys;
  }

  /** That signs now. Makes one where there is none, or the last one is too old. */
  async signing(): Promise<AccessKey> {
    const [newest] = this.#keys;
    if (!newest || !this.#isFresh(newest)) {
      this.#making ??= this.#make().finally(() => (this.#making = undefined));
      return this.#making;
    }
    const notBefore = this.#writtenNotBefore;
    if (notBefore !== undefined && this.#parts.clock.steady() >= notBefore) await this.#write();
    return newest;
  }

  find(id: string | undefined): AccessKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }

  /** One of a day that is far ahead was made by a clock that has been set back: it would sign for ever. */
  #isFresh({ createdAt }: AccessKey): boolean {
    return Math.abs(this.#parts.clock.wall() - createdAt) < ROTATE_MS;
  }

  async #make(): Promise<AccessKey> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE });
    const made = { id: randomUUID(), createdAt: this.#parts.clock.wall(), privateKey, publicKey };
    this.#keys = [made, ...this.#keys].slice(0, MAX_KEYS);
    await this.#write();
    return made;
  }

  async #write(): Promise<void> {
    const keys = this.#keys.map(({ id, createdAt, privateKey }): Written => ({
      id,
      createdAt,
      pem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }));
    // Whoever else asks meanwhile does not write too.
    this.#writtenNotBefore = this.#parts.clock.steady() + RETRY_MS;
    try {
      await writeOwn(this.#path, JSON.stringify({ version: 1, keys }));
      this.#writtenNotBefore = undefined;
      this.#isTold = false;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (!this.#isTold) this.#parts.unwritten(code ?? message, this.#path);
      this.#isTold = true;
    }
  }
}

/** Throws for what is no such file. */
function parse(text: string | undefined): readonly AccessKey[] {
  if (text === undefined) return [];
  const { keys } = JSON.parse(text) as { keys: readonly Written[] };
  return keys.slice(0, MAX_KEYS).map(({ id, createdAt, pem }) => {
    const privateKey = createPrivateKey(pem);
    const curve = privateKey.asymmetricKeyDetails?.namedCurve;
    if (typeof id !== 'string' || !Number.isFinite(createdAt) || curve !== CURVE) {
      throw new SyntaxError('not of its form');
    }
    return { id, createdAt, privateKey, publicKey: createPublicKey(privateKey) };
  });
}
