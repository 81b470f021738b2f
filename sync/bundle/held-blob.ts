import type { Log } from '../../src/observe/log.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { BlobStore, StoredBlob } from '../../src/store/files/blob-store.ts';

export interface HeldBlobParts {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  readonly log: Log;
  readonly now: () => number;
}

/** `undefined` for what is not held. What is found damaged while it is read goes into quarantine. */
export async function findHeldBlob(
  { catalog, blobs, log, now }: HeldBlobParts,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const record = await catalog.findBlob(digest);
  if (!record) return undefined;
  return blobs.find(digest, record, {
    verified: async (changedAt) => catalog.updateBlob(digest, { changedAt, verifiedAt: now() }),
    damaged: async () => {
      log.warn({ digest }, 'a held blob is missing, damaged or unreadable');
      await catalog.forgetBlob(digest);
    },
  });
}

/**
 * As `findHeldBlob`, and known to be right: one that was touched is read once, and from then on any part
 * of it can be read alone.
 */
export async function findSoundBlob(
  parts: HeldBlobParts,
  digest: Digest,
): Promise<StoredBlob | undefined> {
  const blob = await findHeldBlob(parts, digest);
  if (!blob || blob.isVerified) return blob;
  return (await blob.verify()) ? findHeldBlob(parts, digest) : undefined;
}
