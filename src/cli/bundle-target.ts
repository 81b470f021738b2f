import { constants, statSync } from 'node:fs';
import { open, rename, rm, statfs, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PARITY_PART } from '../../sync/bundle/content.ts';
import type { BundleManifest } from '../../sync/bundle/bundle-manifest.ts';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { partSizes } from '../../sync/bundle/part-layout.ts';
import { UsageError } from './command-context.ts';
import { roundSize } from './format.ts';
import { TEXTS } from './texts.ts';

export interface TargetOptions {
  /** A file, or a folder that is there. */
  readonly out?: string;
  /** A drop folder. */
  readonly to?: string;
}

/** What the names of parts are made of. */
interface Named {
  readonly series: string;
  readonly number: number;
}

const TAR = /\.tar$/;

/**
 * Where the parts of a bundle go. Each is written under a name that begins with a dot and ends in `.tmp`,
 * and has its own name only when all of it is on the disk: whoever looks finds a whole part or none. What
 * is not placed by the end is removed.
 */
export class BundleTarget implements AsyncDisposable {
  /** Others take parts away as they come. */
  readonly isDropFolder: boolean;
  readonly folder: string;
  /** Else they are named after the bundle. */
  readonly #name: string | undefined;
  readonly #waiting = new Map<string, string>();
  #isClosed = false;

  /** Throws `UsageError` where nothing could be written to. */
  static choose({ out, to }: TargetOptions, cwd: string): BundleTarget {
    const path = resolve(cwd, to ?? out ?? '');
    const isFolder = isFolderAt(path);
    if (to !== undefined && !isFolder) throw new UsageError(TEXTS.bundleNoFolder({ path }));
    if (isFolder) return new BundleTarget(path, undefined, to !== undefined);
    const folder = dirname(path);
    if (!isFolderAt(folder)) throw new UsageError(TEXTS.bundleNoFolder({ path: folder }));
    return new BundleTarget(folder, basename(path), false);
  }

  private constructor(folder: string, name: string | undefined, isDropFolder: boolean) {
    this.folder = folder;
    this.#name = name;
    this.isDropFolder = isDropFolder;
  }

  /** `NAME.tar`, of several `NAME.part001.tar`, and `NAME.parity.tar` */
  nameOf({ series, number }: Named, part: number, parts: number): string {
    const name = this.#name ?? `bundle-${series.slice(0, 8)}-${number}.tar`;
    const stem = name.replace(TAR, '');
    if (part === PARITY_PART) return `${stem}.parity.tar`;
    if (parts === 1) return name;
    return `${stem}.part${String(part).padStart(3, '0')}.tar`;
  }

  /** Throws a `BundleError` with code `room` where the disk says that it has too little. */
  async requireRoom(manifest: BundleManifest): Promise<void> {
    const sizes = partSizes(manifest);
    const parity = manifest.hasParity ? Math.max(...sizes) : 0;
    const needed = sizes.reduce((sum, size) => sum + size, parity);
    const { bavail, bsize, blocks } = await statfs(this.folder);
    // Of a file system that does not say it is not known.
    if (blocks === 0 || bavail * bsize >= needed) return;
    const free = roundSize(bavail * bsize);
    const parts = { path: this.folder, needed: roundSize(needed), free };
    throw new BundleError('room', TEXTS.bundleTooLarge(parts));
  }

  /** For a part of this name, open for reading and writing. */
  async create(name: string): Promise<FileHandle> {
    if (this.#isClosed) throw new Error(`${name} comes too late`);
    const path = join(this.folder, `.${name}.tmp`);
    return this.#touch(path, async () => {
      await rm(path, { force: true });
      const { O_RDWR, O_CREAT, O_EXCL } = constants;
      const handle = await open(path, O_RDWR | O_CREAT | O_EXCL, 0o644);
      this.#waiting.set(name, path);
      return handle;
    });
  }

  /** Gives a part that is whole its name, in the place of whatever file has it; resolves with its path. */
  async place(name: string): Promise<string> {
    const path = join(this.folder, name);
    await this.#touch(path, async () => rename(this.#waiting.get(name) ?? '', path));
    this.#waiting.delete(name);
    // So that the name outlives a power loss, where the file system can.
    await using folder = await open(this.folder, 'r');
    await folder.sync().catch(() => undefined);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const path of this.#waiting.values()) await rm(path, { force: true });
  }

  /** Throws what the system says in words: a `BundleError` with code `room`, else `UsageError`. */
  async #touch<T>(path: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw this.explain(error, path);
    }
  }

  explain(error: unknown, path = this.folder): unknown {
    const { code = '', syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) return error;
    if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)) {
      return new BundleError('room', TEXTS.bundleNoRoom({ path: this.folder }), { cause: error });
    }
    const reason = (message.split(', ')[0] ?? message).replace(`${code}: `, '');
    return new UsageError(TEXTS.bundleUnwritable({ path, reason }), { cause: error });
  }
}

/** Throws `UsageError` for what is neither a folder nor a file: a device would be replaced by one. */
function isFolderAt(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found || found.isFile()) return false;
  if (found.isDirectory()) return true;
  throw new UsageError(TEXTS.bundleNoFile({ path }));
}
