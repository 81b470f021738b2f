import { buffer } from 'node:stream/consumers';
import type { Readable } from 'node:stream';
import type { Ask } from './admin-client.ts';
import { AdminError } from './command-context.ts';
import { replaceFile } from './touch-file.ts';
import { TEXTS } from './texts.ts';

/**
 * Writes what the site holds now to a file, whose path is absolute; resolves with its bytes. The file is
 * the old one until all of the new one is on the disk.
 */
export async function saveInventory(ask: Ask, path: string): Promise<Buffer> {
  const bytes = await fetchInventory(ask);
  replaceFile(path, bytes, TEXTS.inventoryUnwritable);
  return bytes;
}

async function fetchInventory(ask: Ask): Promise<Buffer> {
  const answer = (await ask('/api/v1/inventory', { isBinary: true })) as Readable;
  return buffer(answer).catch((cause: Error) => {
    throw new AdminError(TEXTS.inventoryCut({ reason: cause.message }), { cause });
  });
}
