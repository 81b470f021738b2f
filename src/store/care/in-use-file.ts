import { open } from 'node:fs/promises';
import type { InUseList, PassedOver } from '../../api/store-api.ts';
import type { Log } from '../../observe/log.ts';
import { digestOf, type Digest } from '../../oci/digest.ts';
import { readImageList } from '../../oci/image-list.ts';
import { TEXTS } from '../texts.ts';

export interface InUseFileParts {
  readonly path: string;
  /** Given all of the file whenever it changed; resolves with what of it is not pinned. */
  readonly changed: (list: InUseList) => Promise<readonly PassedOver[]>;
  readonly log: Log;
  readonly pollMs?: number;
}

const POLL_MS = 5_000;
/** The pods of a large cluster as JSON; read into memory whenever the file is looked at. */
const MAX_BYTES = 64 * 2 ** 20;
/** Most lines of the list that one log line names as passed over. */
const MAX_TOLD = 20;

/**
 * A file that names the images a cluster runs. What it names is pinned at the first look; what it no
 * longer names goes when the next look, five seconds later, finds the same bytes, and the last line
 * has its end. So a list that is just being written unpins nothing.
 */
export class InUseFile {
  readonly #parts: InUseFileParts;
  /** What the last look found. */
  #found: Digest | undefined;
  /** What stands as a whole. */
  #taken: Digest | undefined;
  /** Why the last look came to nothing. */
  #trouble: string | undefined;
  #polling: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;

  constructor(parts: InUseFileParts) {
    this.#parts = parts;
  }

  /** Reads it, and again whenever it changes. By polling: links that are swapped escape other ways. */
  async watch(): Promise<void> {
    await this.#look();
    this.#polling = setInterval(() => {
      this.#reading ??= this.#look().finally(() => (this.#reading = undefined));
    }, this.#parts.pollMs ?? POLL_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#polling);
    await this.#reading;
  }

  /** A file that cannot be read, or names no image, changes nothing: what was in use stays pinned. */
  async #look(): Promise<void> {
    try {
      const bytes = await readStill(this.#parts.path);
      if (bytes) await this.#take(bytes);
      this.#trouble = undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const { path, log } = this.#parts;
      if (reason !== this.#trouble) {
        log.warn({ path, reason }, 'the list of images in use is not taken');
      }
      this.#trouble = reason;
    }
  }

  async #take(bytes: Uint8Array): Promise<void> {
    const found = digestOf(bytes);
    const isSettled = found === this.#found;
    this.#found = found;
    if (found === this.#taken) return;
    const list = readImageList(bytes);
    const passedOver = await this.#parts.changed({ ...list, isWhole: isSettled && list.isWhole });
    if (!isSettled) return;
    this.#taken = found;
    this.#tell(list, passedOver);
  }

  #tell({ isWhole }: InUseList, passedOver: readonly PassedOver[]): void {
    const { path, log } = this.#parts;
    if (!isWhole) {
      log.warn(
        { path },
        'the last line of the list of images in use has no end: it unpins nothing',
      );
    }
    // A cluster also runs what is not mirrored here.
    const odd = passedOver.filter(({ kind }) => kind !== 'elsewhere');
    if (odd.length === 0) return;
    const lines = odd.slice(0, MAX_TOLD).map(({ line, text, reason }) => ({ line, text, reason }));
    log.warn(
      { path, passedOver: odd.length, lines },
      'lines of the list of images in use were passed over',
    );
  }
}

/** `undefined` when it changed meanwhile. */
async function readStill(path: string): Promise<Uint8Array | undefined> {
  await using file = await open(path);
  const before = await file.stat();
  if (!before.isFile()) throw new Error(TEXTS.listNoFile);
  if (before.size > MAX_BYTES) throw new Error(TEXTS.listTooLarge({ most: MAX_BYTES }));
  const bytes = await file.readFile();
  const { mtimeMs, size } = await file.stat();
  return mtimeMs === before.mtimeMs && size === bytes.length ? bytes : undefined;
}
