import { readFile, stat } from 'node:fs/promises';
import { parseImageList } from '../../oci/image-list.ts';
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
  #seen: string | undefined;
  #polling: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: InUseFileParts) {
    this.#parts = parts;
  }

  /** Reads it, and again whenever it changes. By polling: links that are swapped escape other ways. */
  async watch(): Promise<void> {
    await this.#look();
    this.#polling = setInterval(() => {
      this.#reading = this.#reading.then(() => this.#look());
    }, this.#parts.pollMs ?? POLL_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#polling);
    await this.#reading;
  }

  /** A file that cannot be read changes nothing: what was in use stays pinned. */
  async #look(): Promise<void> {
    const { path, changed, log } = this.#parts;
    try {
      const { mtimeMs, size, ino } = await stat(path);
      const seen = `${mtimeMs} ${size} ${ino}`;
      if (seen === this.#seen) return;
      await changed(parseImageList(await readFile(path, 'utf8')));
      this.#seen = seen;
    } catch (err) {
      if (this.#seen !== '') log.warn({ path, err }, 'the list of images in use cannot be read');
      this.#seen = '';
    }
  }
}
