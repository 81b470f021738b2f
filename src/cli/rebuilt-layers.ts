import type { BundledRecipe } from '../api/bundle-api.ts';
import { count, roundSize } from './format.ts';
import { TEXTS } from './texts.ts';

/** Layers that are made at the site of those that it has, and what that saves. */
export interface RebuiltLayers {
  readonly layers: number;
  /** Of the layers. */
  readonly bytes: number;
  /** Of what is carried in their place. */
  readonly carriedBytes: number;
}

/** `undefined` where there are none. */
export function countRebuilt(
  recipes: readonly BundledRecipe[] | undefined,
): RebuiltLayers | undefined {
  return (
    recipes && {
      layers: recipes.length,
      bytes: recipes.reduce((sum, { size }) => sum + size, 0),
      carriedBytes: recipes.reduce((sum, { recipe }) => sum + recipe.size, 0),
    }
  );
}

export function formatRebuilt({ layers, bytes, carriedBytes }: RebuiltLayers): string {
  return TEXTS.bundleRebuilt({
    layers: count(layers, 'layer'),
    bytes: roundSize(bytes),
    carried: roundSize(carriedBytes),
    saved: roundSize(bytes - carriedBytes),
  });
}
