import { join } from 'node:path';
import PQueue from 'p-queue';
import { formatJwks, parseJwks, type KeySet } from '../config/jwks.ts';
import { readOwn, writeOwn } from '../store/own-file.ts';

const MAX_SETS = 32;
const MAX_BYTES = 8 * 2 ** 20;

/**
 * The last good keys of each origin, an address with the authorities that count for it, in one file of the store: after a restart
 * they count while the address does not answer. Public keys only; at most the 32 sets that changed last.
 */
export class KeptKeys {
  readonly #path: string;
  readonly #sets: Map<string, KeySet>;
  readonly #writes = new PQueue({ concurrency: 1 });

  /** What cannot be read is fetched anew, as what is damaged is: `unread` is told why. */
  static async open(
    storePath: string,
    unread: (reason: string, path: string) => void,
  ): Promise<KeptKeys> {
    const path = join(storePath, 'issuer-keys.json');
    const text = await readOwn(path, MAX_BYTES).catch((error: NodeJS.ErrnoException) => {
      unread(error.code ?? error.message, path);
      return undefined;
    });
    return new KeptKeys(path, parse(text));
  }

  private constructor(path: string, sets: Map<string, KeySet>) {
    this.#path = path;
    this.#sets = sets;
  }

  find(origin: string): KeySet | undefined {
    return this.#sets.get(origin);
  }

  /** What the disk does not take is fetched once more after the next start. Never rejects. */
  async keep(origin: string, set: KeySet): Promise<void> {
    this.#sets.delete(origin);
    this.#sets.set(origin, set);
    for (const [oldest] of [...this.#sets].slice(0, -MAX_SETS)) this.#sets.delete(oldest);
    const sets = [...this.#sets].map(([from, keys]) => ({ origin: from, jwks: formatJwks(keys) }));
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
    const { sets } = JSON.parse(text ?? '') as {
      sets: { origin: string; jwks: object }[];
    };
    return new Map(
      sets.map(({ origin, jwks }) => [origin, parseJwks(JSON.stringify(jwks), origin)]),
    );
  } catch {
    return new Map();
  }
}
