import { store, subjectOf } from './image.ts';
import type { Image, Index, Stored } from './image.ts';

interface Repository {
  readonly tags: Map<string, string>;
  readonly manifests: Set<string>;
  readonly blobs: Set<string>;
}

/** What the fake registry holds. Content is visible only in the repositories it was added to. */
export class FakeContent {
  readonly #stored = new Map<string, Stored>();
  readonly #repositories = new Map<string, Repository>();
  readonly #names = new Map<string, string>();

  get repositories(): string[] {
    return [...this.#repositories.keys()].toSorted();
  }

  has(repository: string): boolean {
    return this.#repositories.has(repository);
  }

  tagsOf(repository: string): string[] {
    return [...(this.#repositories.get(repository)?.tags.keys() ?? [])].toSorted();
  }

  findTag(repository: string, tag: string): string | undefined {
    return this.#repositories.get(repository)?.tags.get(tag);
  }

  findManifest(repository: string, digest: string): Stored | undefined {
    const held = this.#repositories.get(repository)?.manifests.has(digest);
    return held ? this.#stored.get(digest) : undefined;
  }

  findBlob(repository: string, digest: string): Stored | undefined {
    const held = this.#repositories.get(repository)?.blobs.has(digest);
    return held ? this.#stored.get(digest) : undefined;
  }

  referrersOf(repository: string, subject: string): Stored[] {
    const digests = [...(this.#repositories.get(repository)?.manifests ?? [])];
    return digests
      .map((digest) => this.#stored.get(digest))
      .filter((stored) => stored !== undefined)
      .filter((stored) => subjectOf(stored) === subject);
  }

  addBlob(repository: string, blob: Buffer | Stored): Stored {
    const stored = Buffer.isBuffer(blob) ? store(blob) : blob;
    this.#stored.set(stored.digest, stored);
    this.#repository(repository).blobs.add(stored.digest);
    return stored;
  }

  addManifest(repository: string, manifest: Stored, tags: readonly string[]): Stored {
    this.#stored.set(manifest.digest, manifest);
    this.#repository(repository).manifests.add(manifest.digest);
    for (const tag of tags) this.tag(repository, tag, manifest.digest);
    return manifest;
  }

  addImage(repository: string, tag: string | undefined, image: Image, name?: string): void {
    for (const blob of image.blobs) this.addBlob(repository, blob);
    this.addManifest(repository, image.manifest, tag === undefined ? [] : [tag]);
    if (name === undefined) return;
    this.name(image.manifest.digest, name);
    this.name(image.config.digest, `${name}.config`);
    for (const [index, layer] of image.layers.entries()) {
      this.name(layer.digest, `${name}.layer${index}`);
    }
  }

  addIndex(repository: string, tag: string | undefined, index: Index, name?: string): void {
    for (const [position, image] of index.images.entries()) {
      this.addImage(repository, undefined, image, name && `${name}.${position}`);
    }
    this.addManifest(repository, index.manifest, tag === undefined ? [] : [tag]);
    if (name !== undefined) this.name(index.manifest.digest, name);
  }

  tag(repository: string, tag: string, digest: string): void {
    this.#repository(repository).tags.set(tag, digest);
  }

  untag(repository: string, tag: string): void {
    this.#repositories.get(repository)?.tags.delete(tag);
  }

  /** Removes the content from every repository; tags that point to it dangle and are 404. */
  remove(digest: string): void {
    this.#stored.delete(digest);
    for (const { manifests, blobs } of this.#repositories.values()) {
      manifests.delete(digest);
      blobs.delete(digest);
    }
  }

  name(digest: string, name: string): void {
    this.#names.set(digest, name);
  }

  /** `text` with every named digest as `<name>`, and its fallback tag as `<sha256-name>`. */
  abbreviate(text: string): string {
    return text.replaceAll(/(sha\d+)([:-])([0-9a-f]{64,})/g, (whole, algorithm, mark, encoded) => {
      const name = this.#names.get(`${algorithm}:${encoded}`);
      if (name === undefined) return whole;
      return mark === ':' ? `<${name}>` : `<${algorithm}-${name}>`;
    });
  }

  #repository(name: string): Repository {
    let repository = this.#repositories.get(name);
    if (!repository) {
      repository = { tags: new Map(), manifests: new Set(), blobs: new Set() };
      this.#repositories.set(name, repository);
    }
    return repository;
  }
}
