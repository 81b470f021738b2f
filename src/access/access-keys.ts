import {
  generateKeyPairSync,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
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

const MAX_BYTES = 64 * 1024;
/** A new key is made after this time; the one before it verifies for as long again. */
const ROTATE_MS = 30 * 86_400_000;

/**
 * The keys by which the mirror's own tokens are signed, in one file of the store: the newest signs, the
 * one before it still verifies, so that a rotation refuses nobody.
 */
export class AccessKeys {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'wall'>;
  #keys: readonly AccessKey[];

  static async open(storePath: string, clock: Pick<Clock, 'wall'>): Promise<AccessKeys> {
    const path = join(storePath, 'access-keys.json');
    return new AccessKeys(path, clock, parse(await readOwn(path, MAX_BYTES)));
  }

  private constructor(path: string, clock: Pick<Clock, 'wall'>, keys: readonly AccessKey[]) {
    this.#path = path;
    this.#clock = clock;
    this.#keys = keys;
  }

  /** That signs now. Makes one where there is none, or the last one is too old. */
  async signing(): Promise<AccessKey> {
    const [newest] = this.#keys;
    const now = this.#clock.wall();
    if (newest && now - newest.createdAt < ROTATE_MS) return newest;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const made = { id: randomUUID(), createdAt: now, privateKey, publicKey };
    this.#keys = [made, ...(newest ? [newest] : [])];
    await this.#write();
    return made;
  }

  find(id: string | undefined): AccessKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }

  async #write(): Promise<void> {
    const keys = this.#keys.map(({ id, createdAt, privateKey }): Written => ({
      id,
      createdAt,
      pem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }));
    // A store that cannot be written costs a login after the next start.
    await writeOwn(this.#path, JSON.stringify({ version: 1, keys })).catch(() => undefined);
  }
}

/** What is damaged is made anew: all clients log in once more. */
function parse(text: string | undefined): readonly AccessKey[] {
  try {
    const { keys } = JSON.parse(text ?? '') as { keys: readonly Written[] };
    return keys.map(({ id, createdAt, pem }) => {
      const privateKey = createPrivateKey(pem);
      return { id, createdAt, privateKey, publicKey: createPublicKey(privateKey) };
    });
  } catch {
    return [];
  }
}
