import type { Digest } from '../oci/digest.ts';
import { isManifestType } from '../oci/media-types.ts';
import type { Target } from '../oci/reference.ts';
import { unitOf, type Catalog, type Node } from '../store/catalog/catalog.ts';

/** A blob that more manifests of a repository list tells nothing of any of them; a config does. */
const MAX_HOLDERS = 32;

/**
 * Images that clients use: of which they asked for a blob, and did not only look at the manifest, as
 * scanners and update bots do. The catalog has it on record, so that it is known after a restart.
 */
export class ImageUses {
  readonly #catalog: Catalog;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /**
   * A client asked for a blob. Resolves with the manifest that it is taken to be of and the indexes
   * that list that; with nothing when it belongs to an image that was in use before.
   */
  async record(target: Target, blob: Digest): Promise<Digest[]> {
    const catalog = this.#catalog;
    const image = await this.#imageOf(target, await this.#holders({ target, digest: blob }));
    if (!image) return [];
    const used: Digest[] = [];
    const seen = new Set([image]);
    for (const digest of seen) {
      const node = { target, digest };
      used.push(digest);
      // What cannot be written is learnt again with the next blob.
      if (!(await catalog.wasUsed(node))) await catalog.recordUse(node).catch(() => undefined);
      for (const holder of await this.#holders(node)) seen.add(holder);
    }
    return used;
  }

  /** Whether a client asked for a blob of it, or of one of its platforms. */
  async has({ target, digest }: Node): Promise<boolean> {
    const catalog = this.#catalog;
    if (await catalog.wasUsed({ target, digest })) return true;
    for (const { digest: child, mediaType } of (await catalog.members(digest))?.successors ?? []) {
      if (isManifestType(mediaType) && (await catalog.wasUsed({ target, digest: child })))
        return true;
    }
    return false;
  }

  /** Of several that share a blob, the one whose manifest was pulled last, unless one is in use. */
  async #imageOf(target: Target, holders: readonly Digest[]): Promise<Digest | undefined> {
    const catalog = this.#catalog;
    if (holders.length < 2) return holders[0];
    for (const digest of holders) if (await catalog.wasUsed({ target, digest })) return undefined;
    const times = await catalog.lastPulls(holders.map((digest) => unitOf(target, digest)));
    return holders[times.indexOf(times.reduce((one, other) => Math.max(one, other)))];
  }

  async #holders({ target, digest }: Node): Promise<Digest[]> {
    const found: Digest[] = [];
    for await (const holder of this.#catalog.holdersIn(target, digest)) {
      if (found.push(holder) > MAX_HOLDERS) return [];
    }
    return found;
  }
}
