import type { Digest } from '../oci/digest.ts';
import { isSameTarget, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { SCRUB } from '../upstream/demand.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { Manifests } from './manifests.ts';
import { TEXTS } from './texts.ts';

/** Fetches again what was held and is damaged, from a repository that is known to have it. */
export class Healer {
  readonly #parts: { catalog: Catalog; downloads: Downloads; manifests: Manifests };

  constructor(parts: { catalog: Catalog; downloads: Downloads; manifests: Manifests }) {
    this.#parts = parts;
  }

  /** Resolves with why it could not be had, or with nothing. */
  async heal(digest: Digest): Promise<string | undefined> {
    let reason: string = TEXTS.noRepositoryHasIt;
    for (const { target, isManifest } of await this.#sources(digest)) {
      try {
        if (await this.#fetch(target, digest, isManifest)) return undefined;
        reason = TEXTS.repositoryHasItNoMore(target);
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
    }
    return reason;
  }

  async #sources(digest: Digest): Promise<{ target: Target; isManifest: boolean }[]> {
    const sources: { target: Target; isManifest: boolean }[] = [];
    for await (const { target, digest: holder } of this.#parts.catalog.holders(digest)) {
      const isManifest = holder === digest;
      const known = sources.findIndex((source) => isSameTarget(source.target, target));
      if (known === -1) sources.push({ target, isManifest });
      else if (isManifest) sources[known] = { target, isManifest };
    }
    for (const target of await this.#parts.catalog.linked(digest)) {
      if (!sources.some((source) => isSameTarget(source.target, target))) {
        sources.push({ target, isManifest: false });
      }
    }
    return sources;
  }

  async #fetch(target: Target, digest: Digest, isManifest: boolean): Promise<boolean> {
    const { downloads, manifests } = this.#parts;
    if (isManifest) return manifests.fetchKept(target, digest, SCRUB);
    return downloads.hold(target, digest, SCRUB);
  }
}
