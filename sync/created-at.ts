import PQueue from 'p-queue';
import { MAX_MANIFEST_BYTES } from '../src/oci/manifest.ts';
import { isManifestType } from '../src/oci/media-types.ts';
import type { Tag, Target } from '../src/oci/reference.ts';
import type { Digest } from '../src/oci/digest.ts';
import type { SyncParts } from './parts.ts';

interface Parts extends Pick<SyncParts, 'prefetcher' | 'catalog' | 'blobs'> {
  /** The digest of a tag; each tag is asked for once in a run. */
  readonly resolve: (tag: Tag) => Promise<Digest | undefined>;
}

const CREATED = 'org.opencontainers.image.created';
const AT_A_TIME = 4;

/**
 * When images were made, milliseconds since 1970: by the annotation of the manifest, else by the
 * config of its first platform, which is the one blob that a plan may have to fetch.
 */
export async function createdAt(
  parts: Parts,
  target: Target,
  tags: readonly Tag[],
): Promise<ReadonlyMap<Tag, number>> {
  const queue = new PQueue({ concurrency: AT_A_TIME });
  const times = new Map<Tag, number>();
  await queue.addAll(
    tags.map((tag) => async () => {
      const digest = await parts.resolve(tag);
      const time = digest && (await timeOfManifest(parts, target, digest));
      if (time !== undefined) times.set(tag, time);
    }),
  );
  return times;
}

async function timeOfManifest(
  parts: Parts,
  target: Target,
  digest: Digest,
): Promise<number | undefined> {
  if (!(await parts.prefetcher.holdManifest(target, digest))) return undefined;
  const manifest = await readJson(parts, digest);
  const own = parseTime(asRecord(asRecord(manifest)['annotations'])[CREATED]);
  if (own !== undefined) return own;
  const [first] = (await parts.catalog.members(digest))?.successors ?? [];
  if (!first) return undefined;
  if (isManifestType(first.mediaType)) return timeOfManifest(parts, target, first.digest);
  if (first.size > MAX_MANIFEST_BYTES) return undefined;
  await parts.prefetcher.holdBlob(target, first.digest);
  return parseTime(asRecord(await readJson(parts, first.digest))['created']);
}

/**
 * `undefined` for what is too large to be read into memory: a repository may call anything a
 * config.
 */
async function readJson({ blobs }: Parts, digest: Digest): Promise<unknown> {
  const size = (await blobs.statBlob(digest))?.size ?? 0;
  const bytes = size > MAX_MANIFEST_BYTES ? undefined : await blobs.readBytes(digest);
  try {
    return bytes && JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function parseTime(value: unknown): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
