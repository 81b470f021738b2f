import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readAll } from '../oci/content.ts';
import { digestOf, isDigest, splitDigest, type Digest } from '../oci/digest.ts';
import { IntegrityError } from '../oci/integrity-error.ts';
import { Ingest } from './ingest.ts';
import { OpenFiles } from './open-files.ts';
import { StoredBlob } from './stored-blob.ts';

/**
 * Content-addressed files: `blobs/<algorithm>/<first two digits>/<hex>` holds what is complete and
 * verified, `ingest/<algorithm>-<hex>` what is on its way. A file under `blobs` is there only after
 * its digest was checked, so its name can be trusted without a catalog.
 */
export class BlobStore {
  readonly openFiles = new OpenFiles();
  readonly #path: string;
  readonly #durability: 'full' | 'rename';

  static async open(config: { path: string; durability: 'full' | 'rename' }): Promise<BlobStore> {
    await mkdir(join(config.path, 'blobs'), { recursive: true });
    await mkdir(join(config.path, 'ingest'), { recursive: true });
    return new BlobStore(config);
  }

  constructor(config: { path: string; durability: 'full' | 'rename' }) {
    this.#path = config.path;
    this.#durability = config.durability;
  }

  /**
   * `undefined` when it is not held. With an expected size (bytes) a file of another length counts
   * as damaged: it is removed, so that it can be fetched anew.
   */
  async find(digest: Digest, expectedSize?: number): Promise<StoredBlob | undefined> {
    const path = this.#blobPath(digest);
    let size: number;
    try {
      size = (await stat(path)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    if (expectedSize !== undefined && size !== expectedSize) {
      await this.delete(digest);
      return undefined;
    }
    return new StoredBlob({ digest, size, path, openFiles: this.openFiles });
  }

  /** A small blob's verified bytes. A damaged one is removed and counts as not held. */
  async readBytes(digest: Digest): Promise<Buffer | undefined> {
    const blob = await this.find(digest);
    if (!blob) return undefined;
    const reader = await blob.open();
    try {
      const bytes = await readAll(reader, blob.size);
      if (digestOf(bytes, splitDigest(digest).algorithm) === digest) return bytes;
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
    } finally {
      await reader.close();
    }
    await this.delete(digest);
    return undefined;
  }

  /** Keeps a small blob. Throws {@link IntegrityError} when the bytes are not the digest's. */
  async writeBytes(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (await this.find(digest, bytes.length)) return;
    // A name of its own: the same bytes may be on their way through another repository as well.
    const ingest = await this.#openIngest(digest, `.${randomUUID()}`);
    try {
      await ingest.append(bytes);
      await ingest.verify(bytes.length);
      await ingest.commit();
    } catch (error) {
      await ingest.abort({ keep: false });
      throw error;
    }
  }

  /** The caller sees to it that a digest has one ingest at a time. */
  async ingest(digest: Digest): Promise<Ingest> {
    return this.#openIngest(digest, '');
  }

  async #openIngest(digest: Digest, suffix: string): Promise<Ingest> {
    const { algorithm, encoded } = splitDigest(digest);
    return Ingest.open(digest, {
      partial: join(this.#path, 'ingest', `${algorithm}-${encoded}${suffix}`),
      final: this.#blobPath(digest),
      durability: this.#durability,
      openFiles: this.openFiles,
    });
  }

  async delete(digest: Digest): Promise<void> {
    await rm(this.#blobPath(digest), { force: true });
  }

  /** Every committed blob, in no order. */
  async *list(): AsyncIterable<Digest> {
    const root = join(this.#path, 'blobs');
    for (const algorithm of await foldersOf(root)) {
      for (const shard of await foldersOf(join(root, algorithm))) {
        for (const encoded of await readdir(join(root, algorithm, shard))) {
          const digest = `${algorithm}:${encoded}`;
          if (isDigest(digest)) yield digest;
        }
      }
    }
  }

  /**
   * Removes what a killed process was writing in one go. Only while no other process has the
   * store; partial blobs stay, to be gone on with.
   */
  async sweep(): Promise<void> {
    const ingests = join(this.#path, 'ingest');
    for (const name of await readdir(ingests)) {
      if (name.includes('.')) await rm(join(ingests, name), { force: true });
    }
  }

  #blobPath(digest: Digest): string {
    const { algorithm, encoded } = splitDigest(digest);
    return join(this.#path, 'blobs', algorithm, encoded.slice(0, 2), encoded);
  }
}

async function foldersOf(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}
