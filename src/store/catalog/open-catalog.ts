import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../observe/log.ts';
import type { JournalEntry } from './catalog.ts';
import { CatalogSwap, markOf } from './catalog-swap.ts';
import type { LevelCatalogOptions } from './level-catalog-options.ts';
import { LevelCatalog } from './level-catalog.ts';
import { rebuildFromFiles } from './rebuild.ts';
import { isDamage, isFull, type CrashPoint } from '../faults.ts';
import { readOwn, writeOwn } from '../own-file.ts';
import { Tables } from './tables.ts';

/** In the meta table of a new, empty catalog whose journal shows that there was another one. */
const LOST = 'lost';

export interface OpenCatalogOptions extends LevelCatalogOptions {
  /** The store's folder. */
  readonly path: string;
  /** The folder that the catalog lies in. */
  readonly root: string;
  readonly log: Log;
  readonly entries: () => AsyncIterable<JournalEntry>;
  readonly step: CrashPoint;
  /** Keeps a damaged catalog for whoever wants to know what happened to it; without it, it is removed. */
  readonly discard?: (path: string) => Promise<void>;
}

/**
 * A catalog that cannot be read, whatever became of it, is put aside and made anew from the files and
 * the journal; not one that another process has, that may not be read, or that lacks room: a full disk
 * is given back what was set aside for evictions.
 */
export async function openCatalog(options: OpenCatalogOptions): Promise<LevelCatalog> {
  const { root, log } = options;
  await CatalogSwap.recover(root);
  try {
    return await openWhole(options);
  } catch (err) {
    if (!isFull(err) || !(await Tables.useReserve(join(root, 'catalog')))) throw err;
    log.error({ err }, 'the disk is full: what was set aside opens the catalog');
    return openWhole(options);
  }
}

async function openWhole({ unreadable, ...options }: OpenCatalogOptions): Promise<LevelCatalog> {
  const { path, root, log, discard, ...rest } = options;
  const catalogPath = join(root, 'catalog');
  const opening = { ...rest, unreadable: (err: unknown) => noteDamage(root, { err, unreadable }) };
  let isEmpty = false;
  try {
    const catalog = await LevelCatalog.open(catalogPath, opening);
    let isWhole = false;
    try {
      isEmpty = await isLost(catalog, path);
      isWhole = !isEmpty && !(await isMarked(root));
      if (isWhole) return catalog;
    } finally {
      if (!isWhole) await catalog.close();
    }
    log.error(`the catalog is ${isEmpty ? 'gone' : 'damaged'} and is made anew from the files`);
  } catch (err) {
    if (!isDamage(err)) throw err;
    log.error({ err }, 'the catalog is damaged and is made anew from the files');
  }
  const keep = !isEmpty && discard !== undefined && { discard };
  const rebuilt = await rebuildFromFiles({ ...rest, path, root, ...keep });
  log.info(rebuilt, 'the catalog was made anew');
  return LevelCatalog.open(catalogPath, opening);
}

/** The next opening makes it anew. */
function noteDamage(
  root: string,
  { err, unreadable }: { err: unknown; unreadable: OpenCatalogOptions['unreadable'] },
): void {
  unreadable?.(err);
  if (isDamage(err)) void writeOwn(markOf(root), '').catch(() => undefined);
}

/** Whether it was found damaged while it was in use. */
async function isMarked(root: string): Promise<boolean> {
  return (await readOwn(markOf(root), 1)) !== undefined;
}

/** The loss is written down: after a crash during the rebuild, the empty catalog must not look whole. */
async function isLost({ tables }: LevelCatalog, path: string): Promise<boolean> {
  if (tables.isNew && (await lstat(join(path, 'journal')).catch(() => undefined))) {
    await tables.write((batch) => batch.put(LOST, 1, { sublevel: tables.meta }));
  }
  return (await tables.meta.get(LOST)) !== undefined;
}
