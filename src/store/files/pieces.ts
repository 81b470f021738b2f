import type { Digest } from '../../oci/digest.ts';
import { openOwn } from '../own-file.ts';
import type { Claim } from './aside-files.ts';
import type { OpenFiles } from './stored-blob.ts';

export interface PiecesPlace {
  readonly digest: Digest;
  readonly partial: string;
  /** Of the partial file's name, until the pieces are closed: they are not removed to make room. */
  readonly claim: Claim;
  readonly isSynced: boolean;
  readonly openFiles: OpenFiles;
}

/**
 * A blob that comes in pieces, in any order. Its partial file has holes where none came yet, so that
 * nobody may read it before `BlobStore.ingest` of the same owner has verified all of it. Which pieces
 * are here is for the caller to remember, once `write` has resolved.
 */
export class Pieces {
  readonly #place: PiecesPlace;
  #length: number;

  /** `length`: of the partial file that is there. */
  constructor(place: PiecesPlace, length: number) {
    this.#place = place;
    this.#length = length;
    place.claim.resize(length);
  }

  /** Resolves when all of the piece is on the disk, with durability `full` even after power loss. */
  async write(bytes: AsyncIterable<Uint8Array>, start: number): Promise<void> {
    const { digest, partial, claim, isSynced, openFiles } = this.#place;
    using _ = openFiles.lease(digest);
    await using file = await openOwn(partial, 'update');
    let position = start;
    for await (const chunk of bytes) {
      for (let offset = 0; offset < chunk.length;) {
        const { bytesWritten } = await file.write(chunk, offset, undefined, position);
        offset += bytesWritten;
        position += bytesWritten;
      }
      this.#length = Math.max(this.#length, position);
      claim.resize(this.#length);
    }
    if (isSynced) await file.sync();
  }

  /** The file stays, for whoever goes on with it. */
  close(): void {
    this.#place.claim.end({ isKept: true });
  }
}
