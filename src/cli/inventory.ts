import { resolve } from 'node:path';
import { decodeInventory, type ReadInventory } from '../../sync/bundle/inventory-file.ts';
import { loadConfig } from '../config/load.ts';
import { withAdmin } from './admin-client.ts';
import { EXIT_CODE, print, type CommandOptions, type StoreContext } from './command-context.ts';
import { count, formatLabelled, roundSize } from './format.ts';
import { saveInventory } from './save-inventory.ts';

interface InventoryOptions extends CommandOptions {
  readonly out: string;
}

/** Writes down what this site holds, for whoever makes bundles for it. */
export async function inventory(options: InventoryOptions, context: StoreContext): Promise<number> {
  const { config } = loadConfig({ file: options.config, ...context });
  const file = resolve(context.cwd, options.out);
  const bytes = await withAdmin(config, context, async (ask) => saveInventory(ask, file));
  const report = { file, bytes: bytes.length, ...describe(await decodeInventory(bytes)) };
  print(options, context, report, (columns) =>
    [
      formatLabelled('file  ', `${file}, ${roundSize(report.bytes)}`, columns),
      formatLabelled('holds ', describeCounts(report), columns),
      formatLabelled('site  ', report.site, columns),
      formatLabelled('key   ', report.key, columns),
    ].join(''),
  );
  return EXIT_CODE.ok;
}

function describe({ site, key, digest, applied, complete, partial, blobs, images }: ReadInventory) {
  return {
    digest,
    site,
    key: key.id,
    manifests: complete.size + partial.size,
    partial: partial.size,
    tags: images.filter(({ tag }) => tag !== undefined).length,
    blobs: blobs.size,
    applied: Object.fromEntries(applied),
  };
}

function describeCounts(counts: Omit<ReturnType<typeof describe>, 'applied'>): string {
  const { manifests, partial, tags, blobs } = counts;
  return [
    `${count(manifests, 'manifest')} with ${count(tags, 'tag')}`,
    partial === 0 ? 'each with all that it lists' : `${partial} of them in part`,
    ...(blobs === 0 ? [] : [`and ${count(blobs, 'blob')} that none of them lists`]),
  ].join(', ');
}
