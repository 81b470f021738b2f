import type { Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import { isDigestReference, type Reference, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import type { Demand } from '../upstream/demand.ts';
import type { Answer } from './answer.ts';
import { Blobs, type BlobsParts } from './blobs.ts';
import type { HeldManifest, ManifestStat } from './held-manifests.ts';
import type { Manifests } from './manifests.ts';
import type { Unkept } from './unkept.ts';

export interface UngatedParts extends BlobsParts {
  readonly catalog: Catalog;
  readonly manifests: Manifests;
  readonly unkept: Unkept;
}

const NO_GATE = { passBlob: async () => {} };

/**
 * Images for who looks into them before they may leave: no gate is asked, which waits for them, and nothing
 * counts as a pull. By digest alone.
 */
export class Ungated {
  readonly blobs: Blobs;
  readonly #parts: Pick<UngatedParts, 'catalog' | 'manifests' | 'unkept'>;

  constructor(parts: UngatedParts) {
    this.#parts = parts;
    const uncounted = { access: { note: () => {} }, hydrator: { blobPulled: () => {} } };
    this.blobs = new Blobs({ ...parts, ...uncounted, gate: NO_GATE });
  }

  async getManifest(
    target: Target,
    reference: Reference,
    demand: Demand,
  ): Promise<Answer<HeldManifest>> {
    if (!isDigestReference(reference)) return { value: undefined, source: 'miss' };
    return this.#parts.manifests.hold(target, reference, demand);
  }

  async statManifest(
    target: Target,
    reference: Reference,
    demand: Demand,
  ): Promise<Answer<ManifestStat>> {
    if (!isDigestReference(reference)) return { value: undefined, source: 'miss' };
    return this.#parts.manifests.describe(target, reference, demand);
  }

  /** Whether a manifest lists the digest as its config or a layer. */
  async lists(manifest: Digest, blob: string): Promise<boolean> {
    const { catalog, unkept } = this.#parts;
    const members = (await catalog.members(manifest))?.successors ?? unkept.successors(manifest);
    return (members ?? []).some(
      ({ digest, mediaType }) => digest === blob && !isManifestType(mediaType),
    );
  }
}
