import { readFile } from 'node:fs/promises';
import { parseImageList } from '../../oci/image-name.ts';
import type { Log } from '../../observe/log.ts';

export interface InUseFileParts {
  readonly path: string;
  /** Given all images of the file whenever it changed. */
  readonly changed: (images: readonly string[]) => Promise<void>;
  readonly log: Log;
  readonly pollMs?: number;
}

const POLL_MS = 5_000;

/** A file that names the images a cluster runs, one a line, `#` for comments. */
export class InUseFile {
  readonly #parts: InUseFileParts;
  /** What the last look found. */
  #found: string | undefined;
  #told: string | undefined;
  #isFailing = false;
  #polling: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: InUseFileParts) {
    this.#parts = parts;
  }

  /** Reads it, and again whenever it changes. By polling: links that are swapped escape other ways. */
  async watch(): Promise<void> {
    await this.#look({ isFirst: true });
    this.#polling = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#look());
    }, this.#parts.pollMs ?? POLL_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#polling);
    await this.#reading;
  }

  /** A file that cannot be read changes nothing: what was in use stays pinned. */
  async #look({ isFirst = false } = {}): Promise<void> {
    const { path, changed, log } = this.#parts;
    try {
      const text = await readFile(path, 'utf8');
      // A file that is being written has another text at the next look: half of it unpins nothing.
      const isWhole = isFirst || text === this.#found;
      this.#found = text;
      if (!isWhole) return;
      if (text !== this.#told) await changed(parseImageList(text));
      this.#told = text;
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) log.warn({ path, err }, 'the list of images in use cannot be read');
      this.#isFailing = true;
    }
  }
}
