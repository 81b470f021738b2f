import type { Digest } from '../../oci/digest.ts';
import { ManifestError, parseManifest } from '../../oci/manifest.ts';
import type { ManifestEntry } from './catalog.ts';

/** Verified bytes of a blob; `undefined` when it is gone or damaged. */
export type ReadBytes = (digest: Digest) => Promise<Buffer | undefined>;

/** What the bytes of a manifest say of it; `undefined` when they are gone or are none. */
export async function readManifest(
  readBytes: ReadBytes,
  digest: Digest,
  type: string,
): Promise<Omit<ManifestEntry, 'tags'> | undefined> {
  const bytes = await readBytes(digest);
  if (!bytes) return undefined;
  try {
    const parsed = parseManifest(bytes, type);
    const { mediaType, successors, subject, artifactType, annotations } = parsed;
    const descriptor = {
      mediaType,
      digest,
      size: bytes.length,
      ...(artifactType !== undefined && { artifactType }),
      ...(annotations && { annotations }),
    };
    return { descriptor, successors, ...(subject && { subject }) };
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}
