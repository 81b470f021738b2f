import type { Digest } from '../../src/oci/digest.ts';

/** A manifest of a repository as the model has it. */
export interface ModelManifest {
  readonly target: string;
  readonly digest: string;
  readonly size: number;
  readonly members: readonly string[];
  readonly subject?: string;
  readonly tags: Set<string>;
}

/** What is held, as plain sets and in the plainest words: what the catalog must agree with. */
export class HeldModel {
  readonly manifests = new Map<string, ModelManifest>();
  /** Every blob with a file, manifests' own among them. */
  readonly files = new Set<string>();
  /** Units of pins. A pin of a part protects the whole image. */
  readonly pinned = new Set<string>();

  keep(manifest: ModelManifest): void {
    const unit = unitOf(manifest);
    const known = this.manifests.get(unit) ?? manifest;
    for (const other of this.#inRepository(manifest.target)) {
      for (const tag of manifest.tags) other.tags.delete(tag);
    }
    this.manifests.set(unit, { ...known, tags: new Set([...known.tags, ...manifest.tags]) });
    this.files.add(manifest.digest);
  }

  /** What goes with an image. */
  partsOf(unit: string): Set<string> {
    const parts = new Set([unit]);
    for (const each of parts) {
      const manifest = this.manifests.get(each)!;
      for (const other of this.#inRepository(manifest.target)) {
        const isPart = manifest.members.includes(other.digest) || isAbout(other, manifest.digest);
        if (isPart) parts.add(unitOf(other));
      }
    }
    return parts;
  }

  isRoot(unit: string): boolean {
    const manifest = this.manifests.get(unit)!;
    return !this.#inRepository(manifest.target).some(
      (other) =>
        other.digest !== manifest.digest &&
        (other.members.includes(manifest.digest) || isAbout(manifest, other.digest)),
    );
  }

  isPinned(unit: string): boolean {
    return [...this.partsOf(unit)].some((part) => this.pinned.has(part));
  }

  /** It would free nothing, and a pin keeps the same manifest in another repository. */
  isVain(unit: string): boolean {
    const { digest, target } = this.manifests.get(unit)!;
    const isKeptElsewhere = [...this.manifests.keys()].some((root) => {
      if (!this.isPinned(root)) return false;
      const parts = [...this.partsOf(root)].map((part) => this.manifests.get(part)!);
      return parts.some(
        (part) =>
          part.target !== target && (part.digest === digest || part.members.includes(digest)),
      );
    });
    if (!isKeptElsewhere) return false;
    const after = new HeldModel();
    for (const [each, manifest] of this.manifests) after.manifests.set(each, manifest);
    for (const file of this.files) after.files.add(file);
    after.release(unit);
    return after.files.size === this.files.size;
  }

  /** Removes an image, and what no other one holds then. */
  release(unit: string): void {
    const removed = [this.manifests.get(unit)!];
    this.manifests.delete(unit);
    for (let found = true; found;) {
      found = false;
      for (const [each, manifest] of this.manifests) {
        if (!removed.some((gone) => this.#goesWith(manifest, gone))) continue;
        this.manifests.delete(each);
        removed.push(manifest);
        found = true;
      }
    }
    for (const { digest, members } of removed) {
      for (const each of [digest, ...members]) if (!this.isListed(each)) this.files.delete(each);
    }
  }

  isListed(digest: string): boolean {
    return [...this.manifests.values()].some(
      (manifest) => manifest.digest === digest || manifest.members.includes(digest),
    );
  }

  #goesWith(manifest: ModelManifest, gone: ModelManifest): boolean {
    if (manifest.target !== gone.target) return false;
    const listed = this.#inRepository(manifest.target).some((other) =>
      other.members.includes(manifest.digest),
    );
    if (listed) return false;
    if (gone.members.includes(manifest.digest) && manifest.tags.size === 0) return true;
    const prefix = gone.digest.replace(':', '-');
    return (
      isAbout(manifest, gone.digest) && [...manifest.tags].every((tag) => tag.startsWith(prefix))
    );
  }

  #inRepository(target: string): ModelManifest[] {
    return [...this.manifests.values()].filter((each) => each.target === target);
  }
}

export function unitOf({ target, digest }: { target: string; digest: Digest | string }): string {
  return `${target} ${digest}`;
}

function isAbout({ subject, tags }: ModelManifest, digest: string): boolean {
  const prefix = digest.replace(':', '-');
  return subject === digest || [...tags].some((tag) => tag.startsWith(prefix));
}
