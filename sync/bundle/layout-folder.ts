import { constants } from 'node:fs';
import { lstat, open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pack, type Pack } from 'tar-stream';
import { isDigest } from '../../src/oci/digest.ts';
import { BundleError } from './bundle-error.ts';
import { TEXTS } from './texts.ts';

interface LayoutFile {
  /** In the layout: `blobs/sha256/…` */
  readonly name: string;
  readonly size: number;
}

const DOCUMENTS = ['oci-layout', 'index.json'] as const;
const ALGORITHMS = ['sha256', 'sha512'] as const;
/** Of a tar. */
const BLOCK = 512;

/**
 * The folder of an OCI layout, to be sent as a tar: its two documents, then the blobs by their digests, and
 * nothing else that lies there. Links are not followed. One chunk is in memory.
 */
export class LayoutFolder {
  readonly #path: string;
  readonly #files: readonly LayoutFile[];

  /** Throws a `BundleError` for a folder that is none of a layout, or has a link in the place of a file. */
  static async open(path: string): Promise<LayoutFolder> {
    const names: string[] = [...DOCUMENTS];
    await requireFolder(path, 'blobs');
    for (const algorithm of ALGORITHMS) {
      const folder = `blobs/${algorithm}`;
      const entries = await readdir(join(path, folder)).catch(() => []);
      if (entries.length === 0) continue;
      await requireFolder(path, folder);
      const blobs = entries.filter((name) => isDigest(`${algorithm}:${name}`)).toSorted();
      names.push(...blobs.map((name) => `${folder}/${name}`));
    }
    const files: LayoutFile[] = [];
    for (const name of names) files.push({ name, size: await sizeOf(path, name) });
    return new LayoutFolder(path, files);
  }

  constructor(path: string, files: readonly LayoutFile[]) {
    this.#path = path;
    this.#files = files;
  }

  /** Of the tar, about: a long name takes two blocks more. */
  get size(): number {
    const blocks = this.#files.reduce((sum, { size }) => sum + 1 + Math.ceil(size / BLOCK), 2);
    return blocks * BLOCK;
  }

  /** Rejects when a file is another one by now. */
  tar(): AsyncIterable<Uint8Array> {
    const tar = pack();
    void this.#write(tar).catch((error: unknown) => tar.destroy(error as Error));
    return tar as AsyncIterable<Uint8Array>;
  }

  async #write(tar: Pack): Promise<void> {
    for (const { name, size } of this.#files) {
      await using file = await openFile(join(this.#path, name));
      const header = { name, size, mode: 0o644, mtime: new Date(0) };
      const written = Promise.withResolvers<void>();
      const entry = tar.entry(header, (error) =>
        error ? written.reject(error) : written.resolve(),
      );
      // The pack is destroyed with the entry, and whoever reads it has the error.
      entry.on('error', () => undefined);
      for await (const chunk of file.createReadStream({ autoClose: false })) {
        if (!entry.write(chunk)) {
          await new Promise<void>((resolve) => entry.once('drain', () => resolve()));
        }
      }
      entry.end(undefined);
      await written.promise;
    }
    tar.finalize();
  }
}

async function requireFolder(path: string, name: string): Promise<void> {
  const found = await lstat(join(path, name)).catch(() => undefined);
  if (found?.isSymbolicLink()) throw new BundleError('format', TEXTS.folderLink({ name }));
  if (!found?.isDirectory()) throw new BundleError('format', TEXTS.folderLacks({ name }));
}

async function sizeOf(path: string, name: string): Promise<number> {
  const found = await lstat(join(path, name)).catch(() => undefined);
  if (found?.isFile()) return found.size;
  throw new BundleError('format', found ? TEXTS.folderLink({ name }) : TEXTS.folderLacks({ name }));
}

/** Not what a link leads to, nor a pipe that took its place since. */
async function openFile(path: string): Promise<FileHandle> {
  return open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}
