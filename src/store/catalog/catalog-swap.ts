import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isOwnFolder, look, syncFolder } from '../own-file.ts';
import { isDamage, noCrashPoint, type CrashPoint } from '../faults.ts';
import { Tables } from './tables.ts';

export interface SwapOptions {
  /** The folder that the catalog lies in. */
  readonly root: string;
  readonly durability: 'full' | 'rename';
  readonly step: CrashPoint;
  /** What becomes of the old catalog, or of what stood in its place; without it, it is removed. */
  readonly discard?: (path: string) => Promise<void>;
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
    return new CatalogSwap(options, await openHeld(catalogPath(options.root)));
  }

  /** Finishes or undoes what a crash left. */
  static async recover(root: string): Promise<void> {
    const swap = new CatalogSwap({ root, durability: 'full', step: noCrashPoint }, undefined);
    if (await look(swap.newPath)) {
      if (await isComplete(swap.newPath)) return swap.finish();
      await remove(swap.newPath);
    }
    if (!(await look(swap.#oldPath))) return;
    if (await look(catalogPath(root))) await remove(swap.#oldPath);
    else await rename(swap.#oldPath, catalogPath(root));
  }

  constructor(options: SwapOptions, held: Tables | undefined) {
    this.#options = options;
    this.#held = held;
  }

  get newPath(): string {
    return `${catalogPath(this.#options.root)}.new`;
  }

  get #oldPath(): string {
    return `${catalogPath(this.#options.root)}.old`;
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
    const { root, step, discard = remove } = this.#options;
    const catalog = catalogPath(root);
    if (await look(catalog)) {
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
    await remove(markOf(root));
    await discard(this.#oldPath);
    step('rebuild.done');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.close();
  }

  async #sync(): Promise<void> {
    if (this.#options.durability === 'full') await syncFolder(this.#options.root);
  }
}

function catalogPath(root: string): string {
  return join(root, 'catalog');
}

/** A file that says that the catalog was found damaged while it was in use. */
export function markOf(root: string): string {
  return join(root, 'catalog.damaged');
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
  if (!(await isOwnFolder(path))) return undefined;
  try {
    return await Tables.open(path, { durability: 'full' });
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
