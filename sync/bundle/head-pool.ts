import type { BundleManifest } from './bundle-manifest.ts';
import type { PartHead } from './part-head.ts';

/** Lets the heads of all parts of a bundle have one manifest in memory, however many parts there are. */
export class HeadPool {
  readonly #manifests = new Map<string, BundleManifest>();

  /** The same head, with the manifest of the first one of its bundle. */
  share(head: PartHead): PartHead {
    const manifest = this.#manifests.get(head.id) ?? head.manifest;
    this.#manifests.set(head.id, manifest);
    return { ...head, manifest };
  }
}
