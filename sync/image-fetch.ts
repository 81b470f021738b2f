import PQueue from 'p-queue';
import type { DownloadDemand } from '../src/mirror/downloads/demand.ts';
import type { Digest } from '../src/oci/digest.ts';
import type { Target } from '../src/oci/reference.ts';
import type { Examined, ResolvedWant } from './examination.ts';
import { findImageFiles, type MissingFile } from './image-files.ts';
import type { SyncParts } from './parts.ts';
import { TEXTS } from './texts.ts';
import type { WantedImage } from './wanted-image.ts';

/** So small that what a file costs is the way there and back. */
const SMALL_BYTES = 1024 * 1024;
const SMALL_AT_A_TIME = 4;

export interface FetchParts extends Pick<SyncParts, 'prefetcher' | 'catalog' | 'blobs' | 'signal'> {
  /** Of those that are not small. */
  readonly filesAtATime: number;
  /** Resolves when a file may be fetched. */
  readonly opened: () => Promise<void>;
  readonly demand: Pick<DownloadDemand, 'pace' | 'came' | 'signal'>;
}

interface FetchedImage extends Pick<Examined, 'files' | 'attached' | 'searched'> {
  readonly wanted: ResolvedWant & Pick<WantedImage, 'checkedAt'>;
}

/**
 * Fetches what an examined image lacks, and then moves its tag. An index of which the upstream lacks a
 * manifest is recorded with the rest of it. Then it is known that there is no more to it than what was
 * found just now.
 */
export async function fetchImage(
  parts: FetchParts,
  { wanted, files, attached, searched }: FetchedImage,
): Promise<void> {
  const { catalog } = parts;
  const { target, tag, digest, checkedAt } = wanted;
  const withAttached = { ...parts, attached: attached.map((each) => each.digest) };
  // Measured again: blobs that it shares with another image may be held by now.
  const withheld = new Set(files.withheld.map((file) => file.digest));
  const missingNow = async (): Promise<MissingFile[]> => {
    const { missing } = await findImageFiles(withAttached, wanted, wanted);
    return missing.filter((file) => !withheld.has(file.digest));
  };
  await fetchFiles(parts, wanted, await missingNow());
  const [first] = await missingNow();
  if (first) throw new Error(TEXTS.lost(first));
  for (const each of attached) {
    await catalog.recordTag(target, each.tag, { digest: each.digest, checkedAt });
  }
  if (tag !== undefined) await catalog.recordTag(target, tag, { digest, checkedAt });
  await recordSearches(parts, target, searched);
}

/** All that is attached to these manifests is held. What cannot be written is learnt again. */
export async function recordSearches(
  { catalog }: Pick<SyncParts, 'catalog'>,
  target: Target,
  searched: readonly Digest[],
): Promise<void> {
  for (const digest of searched) {
    await catalog.recordSearch({ target, digest }).catch(() => undefined);
  }
}

/**
 * Small files beside large ones. Begins no further file once one has failed, and ends when those that run
 * have ended.
 */
async function fetchFiles(
  { prefetcher, filesAtATime, opened, demand, signal }: FetchParts,
  { target }: Pick<WantedImage, 'target'>,
  missing: readonly MissingFile[],
): Promise<void> {
  const isSmall = ({ size }: MissingFile): boolean => size <= SMALL_BYTES;
  const small = new PQueue({ concurrency: Math.max(SMALL_AT_A_TIME, filesAtATime) });
  const large = new PQueue({ concurrency: filesAtATime });
  const failures: unknown[] = [];
  const fetchFile = async ({ digest }: MissingFile): Promise<void> => {
    if (failures.length > 0) return;
    await opened();
    if (!(await prefetcher.holdBlob(target, digest, demand))) {
      throw new Error(TEXTS.noBlob({ digest }));
    }
    signal.throwIfAborted();
  };
  const fetching = missing.map(async (file) =>
    (isSmall(file) ? small : large).add(async () =>
      fetchFile(file).catch((error: unknown) => void failures.push(error)),
    ),
  );
  await Promise.all(fetching);
  if (failures.length > 0) throw failures[0];
}
