import { execFile } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { holdImage, type HeldImage } from '../faults/held-image.ts';
import { createTempFolder } from '../helpers/mirror.ts';
import { missingRights, testUnless } from '../helpers/needs.ts';

const run = promisify(execFile);
const PAGE = 4096;

/** Tests that mount a disk of their own. */
export const testDisk = testUnless('small disks', missingRights());

/** A real file system of a few megabytes, in memory, that a test fills and empties. */
export class SmallDisk {
  /** Where a store may lie. */
  readonly path: string;
  readonly #folder: string;
  readonly #ballast: string;

  static async mount(t: ExecutionContext, bytes: number): Promise<SmallDisk> {
    const folder = join(await createTempFolder(t), 'disk');
    await mkdir(folder);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
    t.teardown(() => run('umount', ['-l', folder]));
    return new SmallDisk(folder);
  }

  constructor(folder: string) {
    this.#folder = folder;
    this.path = join(folder, 'store');
    this.#ballast = join(folder, 'ballast');
  }

  /** To the last page. */
  async fill(): Promise<void> {
    await using ballast = await open(this.#ballast, 'a');
    for (let size = 1024 * 1024; size >= PAGE;) {
      try {
        await ballast.appendFile(Buffer.alloc(size, 1));
      } catch {
        size /= 2;
      }
    }
  }

  /**
   * As after an error of the disk: nothing can be created, renamed or removed by its path. Only
   * what is open for writing already, the log of LevelDB, still takes bytes: the kernel turns no
   * file system read-only that has such files, so a read-only view of it is laid over it.
   */
  async setReadOnly(): Promise<void> {
    await run('mount', ['--bind', this.#folder, this.#folder]);
    await run('mount', ['-o', 'remount,bind,ro', this.#folder]);
  }

  async setWritable(): Promise<void> {
    await run('umount', ['-l', this.#folder]);
  }

  async empty(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }
}

/** A mirror on a small disk that holds `library/app:v1`, whole. */
export async function holdOnDisk(
  t: ExecutionContext,
  layers: readonly number[],
): Promise<HeldImage & { disk: SmallDisk }> {
  const disk = await SmallDisk.mount(t, 24 * 1024 * 1024);
  return { disk, ...(await holdImage(t, { layers, storePath: disk.path })) };
}
