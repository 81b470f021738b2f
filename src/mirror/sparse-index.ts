import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/errors.ts';
import { formatTarget, type Target } from '../oci/reference.ts';
import { UpstreamError } from '../oci/upstream-error.ts';
import type { Catalog } from '../store/catalog/catalog.ts';

/**
 * The fault that a client hears of a platform's manifest at a site without a link: where a held
 * index lists it, the site has chosen not to mirror that platform, and no retry will bring it.
 */
export async function explainSparse(
  catalog: Catalog,
  place: { target: Target; digest: Digest },
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof UpstreamError) || error.fault !== 'offline') return error;
  const { target, digest } = place;
  for await (const index of catalog.holdersIn(target, digest)) {
    const members = await catalog.members(index);
    const member = members?.successors.find((each) => each.digest === digest);
    if (!member) continue;
    const what = member.platform ?? 'this manifest';
    return new RegistryError('MANIFEST_UNKNOWN', {
      message: `${formatTarget(target)} is mirrored here without ${what}, and this site is offline`,
      detail: { upstream: target.upstream, digest, index, platform: member.platform },
      cause: error,
    });
  }
  return error;
}
