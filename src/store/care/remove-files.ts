import type { Digest } from '../../oci/digest.ts';
import type { BlobStore } from '../files/blob-store.ts';
import type { Catalog, Evicted } from '../catalog/catalog.ts';

/**
 * Removes the files of what was let go of. What is read or written just now stays, as a blob that
 * no manifest lists, and so does what the disk does not let go of: it counts, and its turn comes
 * again. `freed` tells of what is gone.
 */
export async function removeFiles(
  parts: { readonly blobs: BlobStore; readonly catalog: Catalog; readonly now: () => number },
  released: Evicted,
): Promise<{ freed: Evicted; fault?: Error }> {
  const { blobs: store, catalog, now } = parts;
  const removed: { digest: Digest; size: number }[] = [];
  const faults: Error[] = [];
  for (const { digest, size } of released.blobs) {
    // Recorded anew since: another download of it was quicker.
    if (await catalog.findBlob(digest)) continue;
    const fault = store.isBusy(digest) ? BUSY : await removal(store, digest);
    if (fault) await catalog.adoptBlob(digest, { size, storedAt: now() });
    else removed.push({ digest, size });
    if (fault && fault !== BUSY) faults.push(fault);
  }
  const bytes = removed.reduce((sum, { size }) => sum + size, 0);
  const [fault] = faults;
  return { freed: { ...released, blobs: removed, bytes }, ...(fault && { fault }) };
}

const BUSY = new Error('being read or written');

async function removal(store: BlobStore, digest: Digest): Promise<Error | undefined> {
  return store.delete(digest).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
}
