import { findGlob, isGlob } from '../../config/glob.ts';
import { parseImageName } from '../../oci/image-name.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { below } from '../catalog/tables.ts';

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

async function isHeld({ tables }: Catalog, image: string): Promise<boolean> {
  const { name, tag, digest } = parseImageName(image);
  if (digest !== undefined) return tables.manifests.has(`${name} ${digest}`);
  if (tag !== undefined) return tables.tags.has(`${name} ${tag}`);
  return (await tables.manifests.keys({ ...below(name), limit: 1 }).all()).length > 0;
}

/** One walk over the names for all globs, which ends when each of them has met something. */
async function matchGlobs(
  { tables }: Catalog,
  globs: readonly string[],
  held: Set<string>,
): Promise<void> {
  const open = new Map(globs.map((glob) => [glob, findGlob(glob)]));
  for (const [table, sign] of [
    [tables.tags, ':'],
    [tables.manifests, '@'],
  ] as const) {
    if (open.size === 0) return;
    for await (const key of table.keys()) {
      const space = key.indexOf(' ');
      const names = [key.slice(0, space), `${key.slice(0, space)}${sign}${key.slice(space + 1)}`];
      for (const [glob, pattern] of open) {
        if (!names.some((name) => pattern?.matches(name))) continue;
        held.add(glob);
        open.delete(glob);
      }
      if (open.size === 0) return;
    }
  }
}
