import type { FakeRegistry } from '../helpers/fake-registry.ts';
import { buildBlob, buildImage, MEDIA_TYPES, type Stored } from '../helpers/image.ts';
import type { Chance } from './chance.ts';

export interface WorldImage {
  readonly repository: string;
  readonly tag: string;
  readonly manifest: Stored;
  /** Config and layers. */
  readonly blobs: readonly Stored[];
}

export interface WorldOptions {
  readonly repositories: number;
  readonly imagesEach: number;
  /** Sizes of the layers that an image has for itself; the base of its repository is added. */
  readonly layers: readonly number[];
  readonly baseBytes: number;
}

const MOVING_TAG = 'latest';

/**
 * What the upstream has: images that share the base of their repository, some of them in two
 * repositories, each with a tag of its own, and one tag a repository that moves.
 */
export class World {
  readonly images: readonly WorldImage[];
  readonly #registry: FakeRegistry;
  readonly #bytes = new Map<string, Buffer>();

  constructor(registry: FakeRegistry, options: WorldOptions) {
    this.#registry = registry;
    const images: WorldImage[] = [];
    for (let repository = 0; repository < options.repositories; repository += 1) {
      const base = buildBlob(`base ${repository}`, options.baseBytes, MEDIA_TYPES.layer);
      for (let number = 0; number < options.imagesEach; number += 1) {
        const image = buildImage({
          seed: `${repository} ${number}`,
          layers: [base, ...options.layers],
        });
        const name = `library/app${repository}`;
        images.push({ ...image, repository: name, tag: `v${number}` });
        // Every third one is known by another name as well.
        const other = `library/app${(repository + 1) % options.repositories}`;
        if (number % 3 === 0) images.push({ ...image, repository: other, tag: `copy${number}` });
      }
    }
    this.images = images;
    for (const image of images) this.#publish(image);
    for (const { repository, manifest } of images) registry.tag(repository, MOVING_TAG, manifest);
  }

  /** Bytes of all distinct blobs and manifests. */
  get size(): number {
    return [...this.#bytes.values()].reduce((sum, { length }) => sum + length, 0);
  }

  get digests(): ReadonlySet<string> {
    return new Set(this.#bytes.keys());
  }

  isRight(digest: string, body: Buffer): boolean {
    return this.#bytes.get(digest)?.equals(body) ?? false;
  }

  imageOf(repository: string, digest: string): WorldImage | undefined {
    return this.images.find(
      (image) => image.repository === repository && image.manifest.digest === digest,
    );
  }

  /** The tag of one repository means another of its images. */
  moveTag(chance: Chance): void {
    const { repository, manifest } = chance.pick(this.images);
    this.#registry.tag(repository, MOVING_TAG, manifest);
  }

  /** A tag to pull: mostly the image's own, at times the one that moves. */
  tagOf(image: WorldImage, chance: Chance): string {
    return chance.next() < 0.2 ? MOVING_TAG : image.tag;
  }

  #publish({ repository, tag, manifest, blobs }: WorldImage): void {
    this.#registry.addManifest(repository, manifest, { tags: [tag] });
    for (const stored of [manifest, ...blobs]) this.#bytes.set(stored.digest, stored.bytes);
    for (const blob of blobs) this.#registry.addBlob(repository, blob);
  }
}
