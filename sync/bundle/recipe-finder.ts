import type { WholeContent } from './content-window.ts';
import { FoundPieces } from './found-pieces.ts';
import { framingOf } from './layer-framing.ts';
import { Recipe } from './recipe.ts';

/** How many earlier layers are read for a new one. */
export const MAX_SOURCES = 4;
/** What a bundle takes for an entry of its own, and for what its manifest says of it. */
const OVERHEAD_BYTES = 2 * 1024;
/** Where so much of a layer was found, no other one is read. */
const ENOUGH = 0.9;

/**
 * Looks for the bytes of a layer in earlier ones; of the first `MAX_SOURCES` those are read, each once,
 * that are made of the same kind of frames, until nine tenths of it are found. `undefined` where there is
 * none, and where the recipe would take no less of a bundle than the layer itself.
 */
export async function findRecipe(
  blob: WholeContent,
  earlier: readonly WholeContent[],
): Promise<Recipe | undefined> {
  const framing = blob.size > OVERHEAD_BYTES ? await framingOf(blob) : undefined;
  if (!framing) return undefined;
  const sources: WholeContent[] = [];
  for (const layer of earlier.slice(0, MAX_SOURCES)) {
    if ((await framingOf(layer)) === framing) sources.push(layer);
  }
  if (sources.length === 0) return undefined;
  const found = await FoundPieces.of(blob, framing);
  for (const [index, source] of sources.entries()) {
    if (found.bytes < ENOUGH * blob.size) await found.lookIn(source, index, framing);
  }
  const recipe = new Recipe({ blob, sources, instructions: found.instructions() });
  return recipe.size + OVERHEAD_BYTES < blob.size ? recipe : undefined;
}
