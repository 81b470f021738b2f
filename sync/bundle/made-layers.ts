import { IntegrityError } from '../../src/oci/digest.ts';
import type { StoredBlob } from '../../src/store/files/blob-store.ts';
import type { CrashPoint } from '../../src/store/store.ts';
import { rebuildBlob } from './blob-rebuild.ts';
import { BundleError } from './bundle-error.ts';
import type { BundleManifest } from './bundle-manifest.ts';
import { recipesOf, type RecipeEntry } from './content.ts';
import { discardBlob } from './discarded-blob.ts';
import { findSoundBlob, type HeldBlobParts } from './held-blob.ts';
import type { Intake } from './intake.ts';
import { TEXTS } from './texts.ts';

export interface MadeLayersParts extends HeldBlobParts {
  readonly step: CrashPoint;
}

/** The layers of a bundle that are made of what is held, once all of its recipes are here. */
export class MadeLayers {
  readonly #parts: MadeLayersParts;
  readonly #manifest: BundleManifest;
  readonly #intake: Intake;

  constructor(parts: MadeLayersParts, manifest: BundleManifest, intake: Intake) {
    this.#parts = parts;
    this.#manifest = manifest;
    this.#intake = intake;
  }

  /**
   * Makes those that are not held, and removes all recipes. A layer is kept once its digest has proven it.
   * Throws a `BundleError` with code `needs` where a layer that it is made of is missing or damaged, which
   * goes into quarantine; with code `content` where a recipe is gone or makes no layer.
   */
  async make(): Promise<void> {
    const recipes = recipesOf(this.#manifest);
    for (const recipe of recipes) {
      this.#intake.lease(recipe.makes.digest);
      if (!(await this.#intake.isHeld(recipe.makes))) await this.#makeOne(recipe);
      this.#parts.step('bundle.made');
    }
    // Not before: those of two layers may have the same bytes.
    for (const { digest } of recipes) await discardBlob(this.#parts, digest);
  }

  async #makeOne({ digest, makes, sources: digests }: RecipeEntry): Promise<void> {
    const recipe = await findSoundBlob(this.#parts, digest);
    const { number } = this.#manifest;
    if (!recipe) throw new BundleError('content', TEXTS.carriedLost({ digest, number }));
    const sources: StoredBlob[] = [];
    for (const each of digests) {
      const source = await findSoundBlob(this.#parts, each);
      if (!source) throw new BundleError('needs', TEXTS.sourceLost({ digest: each }));
      sources.push(source);
    }
    try {
      await this.#intake.keep(makes, rebuildBlob({ recipe, sources, size: makes.size }));
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      throw await this.#explain({ digest, sources, cause: error });
    }
  }

  /** Of a layer that is another one than it was to be: either its sources are damaged, or the recipe is wrong. */
  async #explain({
    digest,
    sources,
    cause,
  }: Pick<RecipeEntry, 'digest'> & {
    sources: readonly StoredBlob[];
    cause: Error;
  }): Promise<Error> {
    for (const source of sources) {
      if (await source.verify()) continue;
      return new BundleError('needs', TEXTS.sourceLost({ digest: source.digest }), { cause });
    }
    return new BundleError('content', TEXTS.recipe({ digest }), { cause });
  }
}
