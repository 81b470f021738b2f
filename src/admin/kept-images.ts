import type { KeptImage } from '../api/store-api.ts';
import { formatImageName, formatTarget } from '../oci/reference.ts';
import { unitOf } from '../store/catalog/catalog.ts';
import type { Store } from '../store/store.ts';

/** Held images that a pin keeps, behind this one, as the catalog has them in order. */
export async function* keptImages(
  { care, catalog }: Store,
  after?: string,
): AsyncGenerator<KeptImage> {
  const behind = after?.replace('@', ' ') ?? '';
  for await (const node of care.inventory.images()) {
    if (unitOf(node.target, node.digest) <= behind) continue;
    const tags = await catalog.tagsOf(node);
    const pins = care.pins.of({ ...node, tags });
    const image = formatImageName({ name: formatTarget(node.target), digest: node.digest });
    if (pins.length > 0) yield { image, tags, pins };
  }
}
