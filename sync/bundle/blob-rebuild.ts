import { BundleError } from './bundle-error.ts';
import { ContentWindow, type WholeContent } from './content-window.ts';
import {
  MAX_INSTRUCTION_BYTES,
  parseInstruction,
  type RecipeInstruction,
} from './recipe-instruction.ts';
import { TEXTS } from './texts.ts';

export interface RebuildParts {
  readonly recipe: WholeContent;
  /** In the order in which the recipe counts them. */
  readonly sources: readonly WholeContent[];
  /** Bytes that the recipe is to give; it never gives more. */
  readonly size: number;
}

/**
 * The bytes that a recipe says, each buffer valid until the next one is asked for. Whether they are those
 * of the blob only its digest tells, which the caller computes. Throws a `BundleError` for a recipe that
 * is none, names bytes that no source has, or gives more than `size`. Memory is a window of the recipe and
 * one of each source.
 */
export async function* rebuildBlob(parts: RebuildParts): AsyncGenerator<Buffer> {
  const recipe = new ContentWindow(parts.recipe);
  const sources = parts.sources.map((source) => new ContentWindow(source));
  try {
    let given = 0;
    for (let at = 0; at < parts.recipe.size;) {
      const end = Math.min(at + MAX_INSTRUCTION_BYTES, parts.recipe.size);
      const step = parseInstruction(await recipe.read(at, end));
      if (!step || given + step.length > parts.size) throw wrongRecipe(parts.recipe);
      at += step.bytes;
      given += step.length;
      yield* bytesOf(step, recipe, { at, sources });
      if (!step.from) at += step.length;
    }
  } finally {
    await Promise.all([recipe, ...sources].map(async (window) => window.close()));
  }
}

async function* bytesOf(
  { length, from }: RecipeInstruction,
  recipe: ContentWindow,
  { at, sources }: { at: number; sources: readonly ContentWindow[] },
): AsyncGenerator<Buffer> {
  const window = from ? sources[from.source] : recipe;
  const start = from?.start ?? at;
  if (!window || start + length > window.content.size) throw wrongRecipe(recipe.content);
  yield* window.pieces(start, start + length);
}

function wrongRecipe({ digest }: WholeContent): BundleError {
  return new BundleError('content', TEXTS.recipe({ digest }));
}
