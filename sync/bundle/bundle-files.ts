import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { BundledFile } from '../../src/api/bundle-api.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { BlobStore } from '../../src/store/files/blob-store.ts';
import { FILE_MODE, FOLDER_MODE, isOwnFolder, syncFolder } from '../../src/store/own-file.ts';
import { BundleError } from './bundle-error.ts';
import { discardBlob } from './discarded-blob.ts';
import { TEXTS } from './texts.ts';

interface FilesParts {
  readonly storePath: string;
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
}

const CHUNK_BYTES = 1024 * 1024;

/** The files that bundles bring beside images: `bundles/NAME` below the store's path. */
export class BundleFiles {
  readonly #parts: FilesParts;
  readonly #folder: string;

  constructor(parts: FilesParts) {
    this.#parts = parts;
    this.#folder = join(parts.storePath, 'bundles');
  }

  /** Out of the store, where they came in by digest; each takes the place of the one of its name. Resolves with paths. */
  async place(files: readonly BundledFile[]): Promise<string[]> {
    if (files.length === 0) return [];
    await mkdir(this.#folder, { mode: FOLDER_MODE }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    if (!(await isOwnFolder(this.#folder))) {
      throw new BundleError('content', TEXTS.noFolder({ path: this.#folder }));
    }
    const paths: string[] = [];
    for (const { name, digest } of files) {
      const path = join(this.#folder, name);
      // No file of a bundle has a name that begins so.
      await this.#copy(digest as Digest, { path, fresh: join(this.#folder, `.${name}.new`) });
      paths.push(path);
    }
    await syncFolder(this.#folder);
    return paths;
  }

  /** What came in by digest and is in place. */
  async discard(files: readonly BundledFile[]): Promise<void> {
    for (const { digest } of files) await discardBlob(this.#parts, digest as Digest);
  }

  async #copy(digest: Digest, { path, fresh }: Record<'path' | 'fresh', string>): Promise<void> {
    const { blobs } = this.#parts;
    const blob = await blobs.find(digest);
    if (!blob) throw new BundleError('content', TEXTS.fileLost({ digest }));
    await rm(fresh, { force: true });
    const reader = await blob.open();
    try {
      await pipeline(
        async function* chunks() {
          for (;;) {
            const bytes = await reader.read(Buffer.allocUnsafe(CHUNK_BYTES));
            if (bytes.length === 0) return;
            yield bytes;
          }
        },
        createWriteStream(fresh, { flags: 'wx', mode: FILE_MODE, flush: true }),
      );
    } finally {
      await reader.close();
    }
    await rename(fresh, path);
  }
}
