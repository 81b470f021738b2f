import type { BundledBlob, BundledRecipe } from '../../src/api/bundle-api.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { compareTexts } from './bundle-manifest.ts';
import type { WholeContent } from './content-window.ts';
import type { DraftContent } from './draft-content.ts';
import { findLineages, type LineageParts } from './earlier-layers.ts';
import { findSoundBlob, type HeldBlobParts } from './held-blob.ts';
import { findRecipe } from './recipe-finder.ts';
import type { Recipe } from './recipe.ts';

export interface DraftRecipesParts extends HeldBlobParts, LineageParts {
  readonly catalog: HeldBlobParts['catalog'];
  readonly signal: AbortSignal;
  readonly mostWeight?: number;
}

/** Bytes that the recipes of a draft take in memory; layers whose recipes have no room are carried whole. */
const MOST_WEIGHT = 16 * 1024 * 1024;

/**
 * Finds the layers of a draft that take less as recipes, and says so in its content: they are carried no
 * more, and what their recipes read is needed. The result has the recipes by their own digest. Reads each
 * of those layers, and at most four that the site has; rejects when the draft ends.
 */
export async function findRecipes<Content extends Pick<DraftContent, 'images' | 'blobs' | 'needs'>>(
  parts: DraftRecipesParts,
  content: Content,
): Promise<{ content: Content & RecipesOfDraft; recipes: ReadonlyMap<string, Recipe> }> {
  const recipes = new Map<string, Recipe>();
  const made = new Map<string, BundledRecipe>();
  const needed = new Map<string, BundledBlob>(content.needs.map((need) => [need.digest, need]));
  const { signal, mostWeight = MOST_WEIGHT } = parts;
  let weight = 0;
  for await (const { digest, earlier } of findLineages(parts, content)) {
    signal.throwIfAborted();
    const recipe = await recipeOf(parts, digest, earlier);
    if (!recipe || weight + recipe.weight > mostWeight) continue;
    weight += recipe.weight;
    const own = { digest: await recipe.digest(), size: recipe.size };
    // Those of two layers may have the same bytes.
    recipes.set(own.digest, recipe);
    for (const source of recipe.sources) {
      needed.set(source.digest, { digest: source.digest, size: source.size });
    }
    const sources = recipe.sources.map((source) => source.digest);
    made.set(digest, { digest, size: recipe.blob.size, recipe: own, sources });
  }
  if (made.size === 0) return { content, recipes };
  return {
    content: {
      ...content,
      blobs: content.blobs.filter(({ digest }) => !made.has(digest)),
      needs: [...needed.values()].toSorted((a, b) => compareTexts(a.digest, b.digest)),
      recipes: [...made.values()].toSorted((a, b) => compareTexts(a.digest, b.digest)),
    },
    recipes,
  };
}

interface RecipesOfDraft {
  readonly recipes?: readonly BundledRecipe[];
}

/** What it reads of the site's is held here while it does. */
async function recipeOf(
  parts: DraftRecipesParts,
  digest: Digest,
  earlier: readonly Digest[],
): Promise<Recipe | undefined> {
  using leases = new DisposableStack();
  const blob = await findSoundBlob(parts, digest);
  if (!blob) return undefined;
  const sources: WholeContent[] = [];
  for (const each of earlier) {
    leases.use(parts.blobs.lease(each));
    const source = await findSoundBlob(parts, each);
    if (source) sources.push(source);
  }
  return await findRecipe(blob, sources);
}
