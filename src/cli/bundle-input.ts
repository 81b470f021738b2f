import { createReadStream, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { BundledFile } from '../api/bundle-api.ts';
import { Digester } from '../oci/digest.ts';
import { BundleError } from '../../sync/bundle/bundle-error.ts';
import { isBundledName } from '../../sync/bundle/parse-manifest.ts';
import { decodeInventory } from '../../sync/bundle/inventory-file.ts';
import { UsageError } from './command-context.ts';
import { touchFile } from './touch-file.ts';
import { TEXTS } from './texts.ts';

/** A file that a bundle carries beside images, and where it is. */
export interface CarriedFile extends BundledFile {
  readonly path: string;
}

/** Sorted by name. Throws `UsageError` for what is no file, for a name that none may have, and for two of one name. */
export async function readCarriedFiles(
  files: readonly string[],
  cwd: string,
): Promise<CarriedFile[]> {
  const carried = new Map<string, CarriedFile>();
  for (const path of new Set(files.map((file) => resolve(cwd, file)))) {
    const name = basename(path);
    const same = carried.get(name);
    if (!isBundledName(name)) throw new UsageError(TEXTS.bundleFileName({ path }));
    if (same) throw new UsageError(TEXTS.bundleFileTwice({ path, other: same.path }));
    try {
      if (!(await stat(path)).isFile()) throw new UsageError(TEXTS.bundleFileNone({ path }));
      carried.set(name, { name, path, ...(await measure(path)) });
    } catch (error) {
      throw explain(error, path);
    }
  }
  return [...carried.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function measure(path: string): Promise<Pick<BundledFile, 'digest' | 'size'>> {
  const digester = new Digester('sha256');
  let size = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    digester.update(chunk);
    size += chunk.length;
  }
  return { digest: digester.value(), size };
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof UsageError) return error;
  try {
    return touchFile(
      () => {
        throw error;
      },
      path,
      TEXTS.bundleFileUnreadable,
    );
  } catch (told) {
    return told;
  }
}

/** As base64. Throws `UsageError` with the path, for a file that cannot be read and for one that is none. */
export async function readInventoryFile(file: string, cwd: string): Promise<string> {
  const path = resolve(cwd, file);
  const bytes = touchFile(() => readFileSync(path), path, TEXTS.inventoryUnreadable);
  try {
    await decodeInventory(bytes);
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    throw new UsageError(`${path}: ${error.message}`, { cause: error });
  }
  return bytes.toString('base64');
}
