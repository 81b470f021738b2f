import type { Digest } from '../oci/digest.ts';
import type { Target } from '../oci/reference.ts';
import type { Answer } from './answer.ts';
import type { HeldManifest, ManifestStat } from './held-manifests.ts';
import { TEXTS } from './texts.ts';

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

export const NEGATIVE: ResolvedTag = { value: undefined, source: 'negative' };

export function resolvedTag<Manifest extends ManifestStat>(
  answer: Answer<Manifest>,
): ResolvedTag<Manifest> {
  return { ...answer, value: answer.value?.digest, manifest: answer.value };
}
