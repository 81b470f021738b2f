import { findGlob, isGlob } from '../../config/glob.ts';
import { parseImageName } from '../../oci/image-name.ts';
import { formatTarget, splitTarget } from '../../oci/reference.ts';
import type { Catalog } from '../catalog/catalog.ts';

/** Those of the images, written as pins are, of which something is held. */
export async function findHeld(
  catalog: Catalog,
  images: readonly string[],
): Promise<ReadonlySet<string>> {
  const held = new Set<string>();
  for (const image of images) {
    if (!isGlob(image) && (await isHeld(catalog, image))) held.add(image);
  }
  await matchGlobs(catalog, images.filter(isGlob), held);
  return held;
}

async function isHeld(catalog: Catalog, image: string): Promise<boolean> {
  const { name, tag, digest } = parseImageName(image);
  const target = splitTarget(name);
  if (digest !== undefined) return catalog.isHeld({ target, digest });
  if (tag !== undefined) return (await catalog.findTag(target, tag)) !== undefined;
  return catalog.hasManifests(target);
}

/** One walk over the names for all globs, which ends when each of them has met something. */
async function matchGlobs(
  catalog: Catalog,
  globs: readonly string[],
  held: Set<string>,
): Promise<void> {
  const open = new Map(globs.map((glob) => [glob, findGlob(glob)]));
  if (open.size === 0) return;
  for await (const names of namesIn(catalog)) {
    for (const [glob, pattern] of open) {
      if (!names.some((name) => pattern?.matches(name))) continue;
      held.add(glob);
      open.delete(glob);
    }
    if (open.size === 0) return;
  }
}

async function* namesIn(catalog: Catalog): AsyncGenerator<string[]> {
  for await (const { target, tag } of catalog.tags()) {
    const name = formatTarget(target);
    yield [name, `${name}:${tag}`];
  }
  for await (const { target, digest } of catalog.manifests()) {
    const name = formatTarget(target);
    yield [name, `${name}@${digest}`];
  }
}
