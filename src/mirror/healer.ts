import type { Timing } from '../net/timing.ts';
import type { Digest } from '../oci/digest.ts';
import { isSameTarget, type Target } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog/catalog.ts';
import { SCRUB } from '../upstream/demand.ts';
import type { Downloads } from './downloads/downloads.ts';
import type { Manifests } from './manifests.ts';
import { TEXTS } from './texts.ts';

export interface HealerParts {
  readonly catalog: Catalog;
  readonly downloads: Downloads;
  readonly manifests: Manifests;
  readonly timing: Timing;
}

/** 300 MiB at 1 MiB/s. What takes longer goes on beside the reading of other blobs. */
const PATIENCE_MS = 300_000;
/** Slow fetches from one upstream that go on beside the scrub; other damaged blobs wait for a later one. */
const MAX_LATE = 2;

/**
 * Fetches again what was held and is damaged, from a repository that is known to have it. An upstream
 * that brings it slowly, or not at all, holds up neither the scrub nor what another upstream brings.
 */
export class Healer {
  readonly #parts: HealerParts;
  /** How many go on beside, by upstream. */
  readonly #late = new Map<string, number>();

  constructor(parts: HealerParts) {
    this.#parts = parts;
  }

  /** Resolves with why it could not be had, or with nothing. Asks nobody any more once the signal aborts. */
  async heal(digest: Digest, signal: AbortSignal): Promise<string | undefined> {
    let reason: string = TEXTS.noRepositoryHasIt;
    for (const { target, isManifest } of await this.#sources(digest)) {
      signal.throwIfAborted();
      const failure = await this.#fetchInTime(target, digest, isManifest);
      if (failure === undefined) return undefined;
      reason = failure;
    }
    return reason;
  }

  async #fetchInTime(
    target: Target,
    digest: Digest,
    isManifest: boolean,
  ): Promise<string | undefined> {
    const { upstream } = target;
    const running = this.#late.get(upstream) ?? 0;
    if (running >= MAX_LATE) return TEXTS.stillBringsOthers({ upstream });
    const fetching = this.#fetch(target, digest, isManifest);
    const late = Promise.withResolvers<string>();
    const timer = setTimeout(() => {
      this.#late.set(upstream, (this.#late.get(upstream) ?? 0) + 1);
      void fetching.finally(() => this.#late.set(upstream, (this.#late.get(upstream) ?? 0) - 1));
      late.resolve(TEXTS.stillBringsIt({ upstream }));
    }, this.#parts.timing.healMs ?? PATIENCE_MS);
    return Promise.race([fetching, late.promise]).finally(() => clearTimeout(timer));
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

  /** Resolves with why it could not be had, or with nothing. */
  async #fetch(target: Target, digest: Digest, isManifest: boolean): Promise<string | undefined> {
    const { downloads, manifests } = this.#parts;
    try {
      const isHad = isManifest
        ? await manifests.fetchKept(target, digest, SCRUB)
        : await downloads.hold(target, digest, SCRUB);
      return isHad ? undefined : TEXTS.repositoryHasItNoMore(target);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
