import type { FileHandle } from 'node:fs/promises';
import type { ByteRange, Content, Reader } from '../../oci/content.ts';
import { Digester, IntegrityError, splitDigest, type Digest } from '../../oci/digest.ts';
import { TEXTS } from '../texts.ts';
import { openOwn } from '../own-file.ts';

export interface StoredBlobParts {
  readonly digest: Digest;
  readonly size: number;
  readonly path: string;
  readonly openFiles: OpenFiles;
  /**
   * `trusted`: nothing has touched the file since its bytes were last known to be right. `touched`:
   * something has. `unknown`: nobody knows, as after the catalog was made anew.
   */
  readonly trust: 'trusted' | 'touched' | 'unknown';
  /**
   * All bytes of a file that was not trusted were read, or the disk does not give those of any;
   * false: they are not the digest's.
   */
  readonly judged: (isRight: boolean) => Promise<void>;
  /** Asks for all of a file that was not trusted to be read, beside the work. */
  readonly examine: (blob: StoredBlob) => void;
}

/** A committed blob file whose length has been looked at. */
export class StoredBlob implements Content {
  readonly digest: Digest;
  readonly size: number;
  readonly #parts: StoredBlobParts;

  constructor(parts: StoredBlobParts) {
    this.digest = parts.digest;
    this.size = parts.size;
    this.#parts = parts;
  }

  get isVerified(): boolean {
    return this.#parts.trust === 'trusted';
  }

  /** Something has touched it since its bytes were last known to be right. */
  get isTouched(): boolean {
    return this.#parts.trust === 'touched';
  }

  /**
   * Of a file that was touched the last byte comes when all were read and found right. So it is with
   * one of which nobody knows; but a part of that comes at once, unverified, and all of it is read
   * beside the work.
   */
  async open(range: ByteRange = { start: 0, end: this.size }): Promise<Reader> {
    const { trust, examine } = this.#parts;
    const isWhole = range.start === 0 && range.end >= this.size;
    if (trust === 'touched' || (trust === 'unknown' && isWhole)) return this.#openVerified(range);
    if (trust === 'unknown') examine(this);
    return this.#openFile(range);
  }

  /** Reads all of it. False when the bytes are not the digest's. */
  async verify(
    onRead: (bytes: number) => Promise<void> | void = () => undefined,
  ): Promise<boolean> {
    const reader = await this.#openVerified({ start: 0, end: this.size });
    const scratch = Buffer.allocUnsafe(Math.min(this.size, VERIFY_BYTES));
    try {
      for (;;) {
        const bytes = await reader.read(scratch);
        if (bytes.length === 0) return true;
        await onRead(bytes.length);
      }
    } catch (error) {
      if (error instanceof IntegrityError) return false;
      throw error;
    } finally {
      await reader.close();
    }
  }

  async #openVerified(range: ByteRange): Promise<Reader> {
    const { digest, size, judged } = this.#parts;
    const reader = await this.#openFile({ start: 0, end: size });
    return new VerifyingReader({ digest, reader, range, judged });
  }

  async #openFile(range: ByteRange): Promise<FileReader> {
    const { digest, path, openFiles, judged } = this.#parts;
    // Before the file is: what is about to be read is not removed.
    openFiles.add(digest);
    try {
      const handle = await openOwn(path, 'read');
      return new FileReader({ handle, range, digest, openFiles, judged });
    } catch (error) {
      openFiles.remove(digest);
      throw error;
    }
  }
}

const VERIFY_BYTES = 1024 * 1024;
const EMPTY = Buffer.alloc(0);

interface FileReaderParts extends Pick<StoredBlobParts, 'digest' | 'openFiles' | 'judged'> {
  readonly handle: FileHandle;
  readonly range: ByteRange;
}

class FileReader implements Reader {
  readonly #parts: FileReaderParts;
  #position: number;
  #closed = false;

  constructor(parts: FileReaderParts) {
    this.#parts = parts;
    this.#position = parts.range.start;
  }

  async read(scratch: Buffer): Promise<Buffer> {
    const { handle, range, digest } = this.#parts;
    const length = Math.min(scratch.length, range.end - this.#position);
    if (length === 0) return EMPTY;
    const bytesRead = await this.#readFile(handle, scratch.subarray(0, length));
    if (bytesRead === 0) {
      throw new IntegrityError(digest, {
        expected: TEXTS.size({ bytes: range.end }),
        actual: TEXTS.fileSize({ bytes: this.#position }),
      });
    }
    this.#position += bytesRead;
    return scratch.subarray(0, bytesRead);
  }

  /** What the disk cannot read is as good as damaged, and is not tried with every request. */
  async #readFile(handle: FileHandle, scratch: Buffer): Promise<number> {
    try {
      return (await handle.read(scratch, 0, scratch.length, this.#position)).bytesRead;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EIO') await this.#parts.judged(false);
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#parts.openFiles.remove(this.#parts.digest);
    await this.#parts.handle.close();
  }
}

interface VerifyingReaderParts {
  readonly digest: Digest;
  /** From the first byte to the last. */
  readonly reader: Reader;
  /** What of it is handed on. */
  readonly range: ByteRange;
  /** Called once, before the last byte is handed on or refused. */
  readonly judged: (isRight: boolean) => Promise<void>;
}

/**
 * Reads all of a blob, hands on a range of it, and holds the last byte of that back until the whole
 * was found right: no reader of a damaged file ever has all it asked for.
 */
class VerifyingReader implements Reader {
  readonly #parts: VerifyingReaderParts;
  readonly #digester: Digester;
  #position = 0;
  #last: Buffer | undefined;
  #isJudged = false;

  constructor(parts: VerifyingReaderParts) {
    this.#parts = parts;
    this.#digester = new Digester(splitDigest(parts.digest).algorithm);
  }

  async read(scratch: Buffer): Promise<Buffer> {
    const { start, end } = this.#parts.range;
    while (!this.#isJudged) {
      const bytes = await this.#readOn(scratch);
      if (bytes.length === 0) break;
      const from = this.#position - bytes.length;
      const wanted = bytes.subarray(Math.max(0, start - from), Math.max(0, end - from));
      if (wanted.length === 0) continue;
      if (this.#position < end) return wanted;
      this.#last = Buffer.from(wanted.subarray(-1));
      if (wanted.length > 1) return wanted.subarray(0, -1);
    }
    await this.#judge();
    const last = this.#last ?? EMPTY;
    this.#last = undefined;
    return last;
  }

  async close(): Promise<void> {
    await this.#parts.reader.close();
  }

  async #readOn(scratch: Buffer): Promise<Buffer> {
    try {
      const bytes = await this.#parts.reader.read(scratch);
      this.#digester.update(bytes);
      this.#position += bytes.length;
      return bytes;
    } catch (error) {
      if (error instanceof IntegrityError) await this.#parts.judged(false);
      throw error;
    }
  }

  async #judge(): Promise<void> {
    if (this.#isJudged) return;
    this.#isJudged = true;
    const { digest, judged } = this.#parts;
    const actual = this.#digester.value();
    await judged(actual === digest);
    if (actual === digest) return;
    this.#last = undefined;
    throw new IntegrityError(digest, { expected: digest, actual });
  }
}

/** Counts the store's open file handles, so that leaks show and open files are not removed. */
export class OpenFiles {
  readonly #byDigest = new Map<Digest, number>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  isOpen(digest: Digest): boolean {
    return this.#byDigest.has(digest);
  }

  /** What is being read or written. */
  digests(): Digest[] {
    return [...this.#byDigest.keys()];
  }

  add(digest: Digest): void {
    this.#count += 1;
    this.#hold(digest);
  }

  remove(digest: Digest): void {
    this.#count -= 1;
    this.#letGo(digest);
  }

  /** A blob that counts as open without a handle, until the lease is disposed of. */
  lease(digest: Digest): Disposable {
    this.#hold(digest);
    return { [Symbol.dispose]: () => this.#letGo(digest) };
  }

  #hold(digest: Digest): void {
    this.#byDigest.set(digest, (this.#byDigest.get(digest) ?? 0) + 1);
  }

  #letGo(digest: Digest): void {
    const left = (this.#byDigest.get(digest) ?? 0) - 1;
    if (left > 0) this.#byDigest.set(digest, left);
    else this.#byDigest.delete(digest);
  }
}
