import type { Digest } from '../src/oci/digest.ts';
import type { Target } from '../src/oci/reference.ts';
import { findImageFiles } from './image-files.ts';
import type { SyncParts } from './parts.ts';
import { TEXTS } from './texts.ts';
import type { WantedImage } from './wanted-image.ts';

type Parts = Pick<SyncParts, 'catalog' | 'refusal' | 'isJudged'>;
/** Left out: whoever can tell more is asked, an upstream or a scanner. */
type How = Parameters<SyncParts['refusal']>[2];

interface Judged {
  readonly target: Target;
  readonly digest: Digest;
  /** What it is made of, in any order. */
  readonly files: Iterable<Digest>;
}

/**
 * Why an image may not be pulled: the reason of the first of its manifests that may not; nothing where all may. Of
 * attestations in its index nothing is asked: it runs without them.
 */
export async function findRefusal(
  { catalog, refusal, isJudged }: Parts,
  { target, digest, files }: Judged,
  how?: How,
): Promise<string | undefined> {
  if (!isJudged(target)) return undefined;
  const own = await refusal(target, digest, how);
  if (own !== undefined) return own;
  const { others } = await sortManifests(catalog, target, files);
  for (const each of others) {
    const reason = each === digest ? undefined : await refusal(target, each, how);
    if (reason !== undefined) return TEXTS.partRefused({ digest: each, reason });
  }
  return undefined;
}

/** Attestations in the index of an image that may not be pulled themselves, with what only they list. */
export async function findRefusedAttestations(
  { catalog, refusal, isJudged }: Parts,
  { target, files }: Omit<Judged, 'digest'>,
): Promise<ReadonlySet<Digest>> {
  const left = new Set<Digest>();
  if (!isJudged(target)) return left;
  const { attesting, others } = await sortManifests(catalog, target, files);
  const kept = new Set(others);
  for (const each of attesting) {
    if ((await refusal(target, each)) === undefined) kept.add(each);
    else left.add(each);
  }
  const listed = async (manifests: ReadonlySet<Digest>): Promise<Set<Digest>> => {
    const members = await Promise.all([...manifests].map(async (each) => catalog.members(each)));
    return new Set(members.flatMap((each) => each?.successors ?? []).map(({ digest }) => digest));
  };
  const blobs = (await listed(left)).difference(await listed(kept));
  return left.union(blobs);
}

async function sortManifests(
  catalog: Parts['catalog'],
  target: Target,
  files: Iterable<Digest>,
): Promise<{ readonly attesting: readonly Digest[]; readonly others: readonly Digest[] }> {
  const held = await catalog.heldOf(target, [...files]);
  const attesting = new Set<Digest>();
  for (const each of held) {
    for (const { digest, attests } of (await catalog.members(each))?.successors ?? []) {
      if (attests !== undefined) attesting.add(digest);
    }
  }
  const { own = [], others = [] } = Object.groupBy(held, (each) =>
    attesting.has(each) ? 'own' : 'others',
  );
  return { attesting: own, others };
}

/** The same of an image that is held, with the platforms that are wanted of it. */
export async function judgeWanted(
  parts: Parts & Pick<SyncParts, 'blobs'>,
  { target, digest, platforms }: Pick<WantedImage, 'target' | 'digest' | 'platforms'>,
): Promise<string | undefined> {
  if (!parts.isJudged(target)) return undefined;
  const files = new Set<Digest>();
  const found = (file: Digest): void => void files.add(file);
  // It may be pulled without what is attached to it.
  const wants = { platforms, referrers: false };
  await findImageFiles({ ...parts, found }, { target, digest }, wants);
  return findRefusal(parts, { target, digest, files });
}
