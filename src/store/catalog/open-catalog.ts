import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StoreConfig } from '../../config/config.ts';
import type { Log } from '../../observe/log.ts';
import type { JournalEntry } from './catalog.ts';
import { CatalogSwap } from './catalog-swap.ts';
import { LevelCatalog, type LevelCatalogOptions } from './level-catalog.ts';
import { rebuildCatalog } from './rebuild.ts';
import type { Step } from '../step.ts';

/** In the meta table of a new, empty catalog whose journal shows that there was another one. */
const LOST = 'lost';

/** A catalog that a power loss left unreadable is made anew from the files and the journal. */
export async function openCatalog(
  config: StoreConfig,
  options: LevelCatalogOptions & {
    readonly log: Log;
    readonly entries: () => AsyncIterable<JournalEntry>;
    readonly step: Step;
  },
): Promise<LevelCatalog> {
  const { log, entries, step } = options;
  const path = join(config.path, 'catalog');
  await CatalogSwap.recover(config.path);
  try {
    const catalog = await LevelCatalog.open(path, options);
    let isWhole = false;
    try {
      isWhole = !(await isLost(catalog, config.path));
      if (isWhole) return catalog;
    } finally {
      if (!isWhole) await catalog.close();
    }
    log.error('the catalog is gone and is made anew from the files');
  } catch (err) {
    if (!isCorruption(err) && !(await lacksManifest(path))) throw err;
    log.error({ err }, 'the catalog is damaged and is made anew from the files');
  }
  const rebuilt = await rebuildCatalog({ ...config, entries, step });
  log.info(rebuilt, 'the catalog was made anew');
  return LevelCatalog.open(path, options);
}

/** The loss is written down: after a crash during the rebuild, the empty catalog must not look whole. */
async function isLost({ tables }: LevelCatalog, path: string): Promise<boolean> {
  if (tables.isNew && (await stat(join(path, 'journal')).catch(() => undefined))) {
    await tables.write((batch) => batch.put(LOST, 1, { sublevel: tables.meta }));
  }
  return (await tables.meta.get(LOST)) !== undefined;
}

function isCorruption(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error as NodeJS.ErrnoException).code === 'LEVEL_CORRUPTION' || isCorruption(error.cause);
}

/** LevelDB reports an I/O error, not a corruption, when CURRENT names a file that is missing. */
async function lacksManifest(path: string): Promise<boolean> {
  const names = await readdir(path).catch((): string[] => []);
  return names.includes('CURRENT') && !names.some((name) => name.startsWith('MANIFEST-'));
}
