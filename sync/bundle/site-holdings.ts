import type { Digest } from '../../src/oci/digest.ts';
import type { Catalog } from '../../src/store/catalog/catalog.ts';
import type { Inventory, SiteImage } from './inventory.ts';

/**
 * What a site holds, by its inventory and by what this mirror knows of the manifests in it. A manifest
 * that is not held here says nothing of what it lists, which then counts as not held there. Asks no
 * upstream and reads no blob; what was asked is remembered.
 */
export class SiteHoldings {
  readonly #inventory: Inventory;
  readonly #catalog: Pick<Catalog, 'holders' | 'members'>;
  readonly #tags: ReadonlyMap<string, Digest>;
  readonly #digests: ReadonlySet<string>;
  /** Whether manifests that the inventory does not name are held there with all below them. */
  readonly #whole = new Map<Digest, boolean>();

  constructor(inventory: Inventory, catalog: Pick<Catalog, 'holders' | 'members'>) {
    this.#inventory = inventory;
    this.#catalog = catalog;
    const { images } = inventory;
    const tagged = images.filter(({ tag }) => tag !== undefined);
    this.#tags = new Map(tagged.map(({ name, tag, digest }) => [`${name}:${tag!}`, digest]));
    this.#digests = new Set(images.map(({ name, digest }) => `${name}@${digest}`));
  }

  /** Whether the bytes of a blob or a manifest are there. */
  async has(digest: Digest): Promise<boolean> {
    const { complete, partial, blobs } = this.#inventory;
    if (complete.has(digest) || partial.has(digest) || blobs.has(digest)) return true;
    return this.#isListed(digest);
  }

  /** Whether that repository has the manifest there: by this tag, or, where none is given, in any way. */
  serves({ name, tag, digest }: SiteImage): boolean {
    return tag === undefined
      ? this.#digests.has(`${name}@${digest}`)
      : this.#tags.get(`${name}:${tag}`) === digest;
  }

  /** Whether a manifest that is held there lists it and says that it is held with all below it. */
  async #isListed(digest: Digest): Promise<boolean> {
    for await (const holder of this.#catalog.holders(digest)) {
      if (holder.digest !== digest && (await this.#covers(holder.digest, digest))) return true;
    }
    return false;
  }

  async #covers(manifest: Digest, digest: Digest): Promise<boolean> {
    const mask = this.#inventory.partial.get(manifest);
    if (!mask) return this.#isWhole(manifest);
    const { successors = [] } = (await this.#catalog.members(manifest)) ?? {};
    return successors.some((member, place) => member.digest === digest && mask.has(place));
  }

  async #isWhole(manifest: Digest): Promise<boolean> {
    if (this.#inventory.complete.has(manifest)) return true;
    const isWhole = this.#whole.get(manifest) ?? (await this.#isListed(manifest));
    this.#whole.set(manifest, isWhole);
    return isWhole;
  }
}
