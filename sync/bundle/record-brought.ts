import type { Digest } from '../../src/oci/digest.ts';
import type { Manifest } from '../../src/oci/manifest.ts';
import type { Target } from '../../src/oci/reference.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import { describeManifest } from '../../src/store/catalog/describe-manifest.ts';

export interface BroughtManifest {
  readonly target: Target;
  readonly digest: Digest;
  readonly size: number;
  readonly manifest: Manifest;
  /** What it lists that came with it, or was here: its repository has it. */
  readonly proven: readonly Digest[];
}

/**
 * Records a manifest that a bundle or a layout brought, and whose its blobs are: those of the upstream
 * whose image was the first to need them. Once that is evicted, no repository of another upstream may
 * read what is left.
 */
export async function recordBrought(
  catalog: Catalog,
  { target, digest, size, manifest, proven }: BroughtManifest,
  now: number,
): Promise<void> {
  const { upstream } = target;
  for (const each of [digest, ...proven]) {
    const record = await catalog.findBlob(each);
    const isBrought = (record?.bundle ?? record?.layout) !== undefined;
    if (isBrought && record?.upstream === undefined) await catalog.updateBlob(each, { upstream });
  }
  const described = describeManifest(digest, size, manifest);
  await catalog.recordManifest(target, { ...described, tags: [], isPulled: false, proven }, now);
}
