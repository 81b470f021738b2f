import { open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { noStep, type Step } from '../step.ts';
import { Tables } from './tables.ts';

export interface SwapOptions {
  /** The store's folder. */
  readonly path: string;
  readonly durability: 'full' | 'rename';
  readonly step: Step;
}

/** In the meta table of a new catalog that is complete. */
const COMPLETE = 'rebuilt';

/*
 * Puts a new catalog in the place of the old one. After a crash the folders tell how far it came:
 *
 *   catalog, catalog.new not complete     the new one is removed
 *   catalog, catalog.new complete         the swap is finished
 *   catalog.old, catalog.new complete     the swap is finished
 *   catalog, catalog.old                  the old one is removed
 *   catalog.old                           the old one is put back
 *
 * A process that has the old or the new catalog open has the store.
 */
export class CatalogSwap {
  readonly #options: SwapOptions;
  #held: Tables | undefined;

  /** Throws when another process has the catalog, or a newer version wrote it. */
  static async begin(options: SwapOptions): Promise<CatalogSwap> {
    return new CatalogSwap(options, await openHeld(catalogPath(options.path)));
  }

  /** Finishes or undoes what a crash left. */
  static async recover(path: string): Promise<void> {
    const swap = new CatalogSwap({ path, durability: 'full', step: noStep }, undefined);
    if (await isFolder(swap.newPath)) {
      if (await isComplete(swap.newPath)) return swap.finish();
      await remove(swap.newPath);
    }
    if (!(await isFolder(swap.#oldPath))) return;
    if (await isFolder(catalogPath(path))) await remove(swap.#oldPath);
    else await rename(swap.#oldPath, catalogPath(path));
  }

  constructor(options: SwapOptions, held: Tables | undefined) {
    this.#options = options;
    this.#held = held;
  }

  get newPath(): string {
    return `${catalogPath(this.#options.path)}.new`;
  }

  get #oldPath(): string {
    return `${catalogPath(this.#options.path)}.old`;
  }

  /** From here on the new catalog counts, which is closed. */
  async markComplete(): Promise<void> {
    // Opening the database writes its log into tables; the mark is written after them.
    const tables = await Tables.open(this.newPath, this.#options);
    try {
      await tables.write((batch) => batch.put(COMPLETE, 1, { sublevel: tables.meta }));
    } finally {
      await tables.close();
    }
  }

  async finish(): Promise<void> {
    const { path, step } = this.#options;
    const catalog = catalogPath(path);
    if (await isFolder(catalog)) {
      this.#held ??= await openHeld(catalog);
      await remove(this.#oldPath);
      await rename(catalog, this.#oldPath);
      await this.#sync();
      step('rebuild.old-aside');
    }
    // The old database is closed before another one is open in its place.
    await this[Symbol.asyncDispose]();
    await rename(this.newPath, catalog);
    await this.#sync();
    step('rebuild.swapped');
    await remove(this.#oldPath);
    step('rebuild.done');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.close();
  }

  async #sync(): Promise<void> {
    if (this.#options.durability !== 'full') return;
    await using folder = await open(this.#options.path, 'r');
    await folder.sync();
  }
}

function catalogPath(path: string): string {
  return join(path, 'catalog');
}

async function isComplete(path: string): Promise<boolean> {
  const tables = await openHeld(path);
  if (!tables) return false;
  try {
    return (await tables.meta.get(COMPLETE)) !== undefined;
  } finally {
    await tables.close();
  }
}

/** `undefined` when it is missing or broken. Held open, it keeps other processes out. */
async function openHeld(path: string): Promise<Tables | undefined> {
  if (!(await isFolder(path))) return undefined;
  try {
    return await Tables.open(path, { durability: 'full' });
  } catch (error) {
    // An error of LevelDB itself; that the store is in use or of a newer version is no such error.
    if (String((error as NodeJS.ErrnoException).code).startsWith('LEVEL_')) return undefined;
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
