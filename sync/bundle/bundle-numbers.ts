import { join } from 'node:path';
import PQueue from 'p-queue';
import { isDigest, type Digest } from '../../src/oci/digest.ts';
import { readOwn, writeOwn } from '../../src/store/own-file.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

interface Document {
  readonly version: 1;
  /** The last one. */
  readonly number: number;
  /** Of what the bundle with this number is made of. */
  readonly content: Digest;
  /** Tags that the series has brought, as `name:tag`, the latest last. */
  readonly brought: readonly string[];
}

/** Of their tags 100 bytes each. */
const MAX_BROUGHT = 100_000;
const MAX_BYTES = 16 * 2 ** 20;
/** How far above what was made here an inventory may be, as when the file was lost. */
const MAX_AHEAD = 1_000_000;

/**
 * The numbers of the bundles that this store has made, in a file of it. Without the file the numbers
 * begin anew, above those of the inventories that bundles are made for.
 */
export class BundleNumbers {
  readonly #path: string;
  #last: Document | undefined;
  #isRead = false;
  readonly #turns = new PQueue({ concurrency: 1 });

  constructor(storePath: string) {
    this.#path = join(storePath, 'bundles-made.json');
  }

  /** Of these tags those that the series has brought. */
  async broughtOf(tags: readonly string[]): Promise<string[]> {
    const brought = new Set((await this.#read())?.brought);
    return tags.filter((tag) => brought.has(tag));
  }

  /**
   * The number of a bundle of this content: that of the last one where it is the same, else the next one,
   * and in any case above the given one. It is on the disk when this resolves. Throws a `BundleError`
   * where the given one is more than a million above all that were made here: no inventory uses them up.
   */
  async take(
    content: Digest,
    { above, brought }: { above: number; brought: readonly string[] },
  ): Promise<number> {
    return this.#turns.add(async () => {
      const last = await this.#read();
      if (last?.content === content && last.number > above) return last.number;
      const made = last?.number ?? 0;
      if (above > made + MAX_AHEAD) {
        throw new BundleError('inventory', TEXTS.inventoryAhead({ number: above, made }));
      }
      const number = Math.max(made, above) + 1;
      const all = [...new Set(last?.brought).difference(new Set(brought)), ...brought];
      const next = { version: 1, number, content, brought: all.slice(-MAX_BROUGHT) } as const;
      await writeOwn(this.#path, JSON.stringify(next));
      this.#last = next;
      return number;
    });
  }

  async #read(): Promise<Document | undefined> {
    if (!this.#isRead) {
      const text = await readOwn(this.#path, MAX_BYTES);
      this.#last = text === undefined ? undefined : parse(text);
      this.#isRead = true;
    }
    return this.#last;
  }
}

function parse(text: string): Document | undefined {
  try {
    const document = JSON.parse(text) as Document;
    const { number, content, brought } = document;
    const isSound =
      (document.version as number) === 1 &&
      Number.isSafeInteger(number) &&
      isDigest(content) &&
      Array.isArray(brought);
    return isSound ? document : undefined;
  } catch {
    return undefined;
  }
}
