import type { CacheResult, MissReason } from '../observe/declarations.ts';
import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { UpstreamError } from '../oci/upstream-error.ts';
import type { HeldManifest, ManifestStat } from './held-manifests.ts';
import { TEXTS } from './texts.ts';

export type { CacheResult, MissReason };

/** `value` is `undefined` when the upstream says that there is no such thing. */
export interface Answer<Value> {
  readonly value: Value | undefined;
  readonly source: CacheResult;
  /** Why it is a miss or a bypass, where that is not `cold`, `absent` or `unstored`. */
  readonly reason?: MissReason | undefined;
  /** Since the upstream last confirmed it; left out where nothing is known of that. */
  readonly ageMs?: number | undefined;
  /** Why an older copy stands in, here or at a mirror before, for the operator and the client's log. */
  readonly warning?: string;
  /** What kept the upstream from saying more than a list that stands in. */
  readonly failure?: UpstreamError;
}

/** What a tag means, with as much of its manifest as was needed. */
export interface ResolvedTag<Manifest extends ManifestStat = ManifestStat> extends Answer<Digest> {
  readonly manifest?: Manifest | undefined;
}

/** The copy of a tag that the upstream has no more. */
export function keptTag(
  { upstream }: Target,
  copy: Pick<Answer<HeldManifest>, 'value' | 'ageMs'>,
): ResolvedTag<HeldManifest> {
  return resolvedTag({ ...copy, source: 'stale', warning: TEXTS.keptHere({ upstream }) });
}

export const ABSENT_TAG: ResolvedTag = { value: undefined, source: 'negative' };

export function resolvedTag<Manifest extends ManifestStat>(
  answer: Answer<Manifest>,
): ResolvedTag<Manifest> {
  return { ...answer, value: answer.value?.digest, manifest: answer.value };
}
