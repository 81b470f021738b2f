import { unlink, type FileHandle } from 'node:fs/promises';
import { Digester, IntegrityError, type Algorithm, type Digest } from '../../oci/digest.ts';
import { openOwn } from '../own-file.ts';
import type { Claim } from './aside-files.ts';
import { moveIntoPlace, type FinalPlace } from './ingest.ts';

interface ArrivalPlace {
  readonly partial: string;
  /** Of the partial file's name, which the arrival ends. */
  readonly claim: Claim;
  readonly finalPlace: (digest: Digest) => Promise<FinalPlace>;
}

/**
 * Bytes on their way in under no digest yet, or under one that is only claimed: one writer, no reader,
 * and no resumption. It ends with `commit` or `abort`; after a `commit` that rejects, `abort` is still to
 * be called.
 */
export class Arrival {
  readonly #place: ArrivalPlace;
  readonly #handle: FileHandle;
  readonly #digester: Digester;
  #digest: Digest | undefined;
  #written = 0;

  static async open(algorithm: Algorithm, place: ArrivalPlace): Promise<Arrival> {
    try {
      return new Arrival(algorithm, place, await openOwn(place.partial, 'replace'));
    } catch (error) {
      place.claim.end({ isKept: false });
      throw error;
    }
  }

  constructor(algorithm: Algorithm, place: ArrivalPlace, handle: FileHandle) {
    this.#place = place;
    this.#handle = handle;
    this.#digester = new Digester(algorithm);
  }

  get written(): number {
    return this.#written;
  }

  /** What all that was appended is; nothing is appended after it. */
  get digest(): Digest {
    return (this.#digest ??= this.#digester.value());
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.length;) {
      const position = this.#written + offset;
      const { bytesWritten } = await this.#handle.write(chunk, offset, undefined, position);
      offset += bytesWritten;
    }
    this.#digester.update(chunk);
    this.#written += chunk.length;
    this.#place.claim.resize(this.#written);
  }

  /**
   * Puts it where its digest is found; the caller leases that until it is recorded. Resolves with the
   * file's change time, milliseconds. Throws {@link IntegrityError} when the bytes are not the expected
   * ones.
   */
  async commit(expected: Digest = this.digest): Promise<number> {
    const { digest } = this;
    if (digest !== expected) throw new IntegrityError(expected, { expected, actual: digest });
    const place = await this.#place.finalPlace(digest);
    const changedAt = await moveIntoPlace(this.#handle, place);
    await this.#end();
    place.step('commit.done');
    return changedAt;
  }

  /** Never rejects. */
  async abort(): Promise<void> {
    await unlink(this.#place.partial).catch(() => undefined);
    await this.#end().catch(() => undefined);
  }

  async #end(): Promise<void> {
    this.#place.claim.end({ isKept: false });
    await this.#handle.close();
  }
}
