import { join } from 'node:path';
import PQueue from 'p-queue';
import { formatJwks, parseJwks, type KeySet } from '../config/jwks.ts';
import { readOwn, writeOwn } from '../store/own-file.ts';

const MAX_SETS = 32;
const MAX_BYTES = 8 * 2 ** 20;

/**
 * The last good keys of each address that keys are fetched from, in one file of the store: after a restart
 * they count while the address does not answer. Public keys only; at most the 32 sets that changed last.
 */
export class KeptKeys {
  readonly #path: string;
  readonly #sets: Map<string, KeySet>;
  readonly #writes = new PQueue({ concurrency: 1 });

  static async open(storePath: string): Promise<KeptKeys> {
    const path = join(storePath, 'issuer-keys.json');
    return new KeptKeys(path, parse(await readOwn(path, MAX_BYTES)));
  }

  private constructor(path: string, sets: Map<string, KeySet>) {
    this.#path = path;
    this.#sets = sets;
  }

  find(url: string): KeySet | undefined {
    return this.#sets.get(url);
  }

  /** What the disk does not take is fetched once more after the next start. Never rejects. */
  async keep(url: string, set: KeySet): Promise<void> {
    this.#sets.delete(url);
    this.#sets.set(url, set);
    for (const [oldest] of [...this.#sets].slice(0, -MAX_SETS)) this.#sets.delete(oldest);
    const sets = [...this.#sets].map(([from, keys]) => ({ url: from, jwks: formatJwks(keys) }));
    const text = JSON.stringify({ version: 1, sets });
    await this.#writes.add(async () => writeOwn(this.#path, text).catch(() => undefined));
  }

  /** Resolves when all is written. */
  async settle(): Promise<void> {
    await this.#writes.onIdle();
  }
}

/** What is damaged is fetched anew. */
function parse(text: string | undefined): Map<string, KeySet> {
  try {
    const { sets } = JSON.parse(text ?? '') as { sets: { url: string; jwks: object }[] };
    return new Map(sets.map(({ url, jwks }) => [url, parseJwks(JSON.stringify(jwks), url)]));
  } catch {
    return new Map();
  }
}
