import { open, type FileHandle } from 'node:fs/promises';
import type { ByteRange, Content, Reader } from '../oci/content.ts';
import type { Digest } from '../oci/digest.ts';
import { IntegrityError } from '../oci/integrity-error.ts';
import type { OpenFiles } from './open-files.ts';

/** A committed blob file whose length has been looked at. */
export class StoredBlob implements Content {
  readonly digest: Digest;
  readonly size: number;
  readonly #path: string;
  readonly #openFiles: OpenFiles;

  constructor(parts: { digest: Digest; size: number; path: string; openFiles: OpenFiles }) {
    this.digest = parts.digest;
    this.size = parts.size;
    this.#path = parts.path;
    this.#openFiles = parts.openFiles;
  }

  async open(range: ByteRange = { start: 0, end: this.size }): Promise<Reader> {
    const handle = await open(this.#path, 'r');
    this.#openFiles.add();
    return new FileReader({ handle, range, digest: this.digest, openFiles: this.#openFiles });
  }
}

const EMPTY = Buffer.alloc(0);

class FileReader implements Reader {
  readonly #parts: { handle: FileHandle; range: ByteRange; digest: Digest; openFiles: OpenFiles };
  #position: number;
  #closed = false;

  constructor(parts: {
    handle: FileHandle;
    range: ByteRange;
    digest: Digest;
    openFiles: OpenFiles;
  }) {
    this.#parts = parts;
    this.#position = parts.range.start;
  }

  async read(scratch: Buffer): Promise<Buffer> {
    const { handle, range, digest } = this.#parts;
    const length = Math.min(scratch.length, range.end - this.#position);
    if (length === 0) return EMPTY;
    const { bytesRead } = await handle.read(scratch, 0, length, this.#position);
    if (bytesRead === 0) {
      throw new IntegrityError(digest, {
        expected: `${range.end} bytes`,
        actual: `a file of ${this.#position} bytes`,
      });
    }
    this.#position += bytesRead;
    return scratch.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.openFiles.remove();
    await this.#parts.handle.close();
  }
}
