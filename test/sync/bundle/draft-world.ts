import {
  buildArtifact,
  buildImage,
  buildIndex,
  fallbackTag,
  type Image,
  type Index,
} from '../../helpers/image.ts';
import type { FakeRegistry } from '../../helpers/fake-registry.ts';
import { UPSTREAM } from '../../helpers/scene.ts';

export const REPOSITORY = 'library/app';
export const APP = `${UPSTREAM}/${REPOSITORY}`;
export const PLATFORMS = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));

export interface IndexedImage {
  readonly index: Index;
  readonly amd64: Image;
  readonly arm64: Image;
  /** By the referrers API. */
  readonly signature: Image;
  /** By cosign's tag. */
  readonly cosigned: Image;
  readonly cosignTag: string;
}

/** An index of two platforms with two signatures, as `multi`. */
export function addIndexed(registry: FakeRegistry): IndexedImage {
  const [amd64, arm64] = PLATFORMS.map((platform) =>
    buildImage({ seed: platform.architecture, layers: [4000, 300], platform }),
  ) as [Image, Image];
  const index = buildIndex(
    [amd64, arm64].map((image, at) => ({ image, platform: PLATFORMS[at]! })),
  );
  registry.addIndex(REPOSITORY, 'multi', index, { name: 'index' });
  const artifactType = 'application/vnd.example.signature';
  const signature = buildArtifact({ seed: 's', artifactType, subject: index.manifest });
  registry.addImage(REPOSITORY, undefined, signature, { name: 'signature' });
  const cosigned = buildImage({ seed: 'cosigned', layers: [70] });
  const cosignTag = `${fallbackTag(index.manifest.digest)}.sig`;
  registry.addImage(REPOSITORY, cosignTag, cosigned, { name: 'cosigned' });
  return { index, amd64, arm64, signature, cosigned, cosignTag };
}

export interface Sized {
  readonly digest: string;
  readonly size: number;
}

/** Manifests and blobs of these images, as a draft lists them. */
export function filesOf(...images: readonly (Image | Index)[]): Sized[] {
  return sorted(
    images.flatMap((image) =>
      'blobs' in image ? [image.manifest, ...image.blobs] : [image.manifest],
    ),
  );
}

export function sorted(files: readonly Sized[]): Sized[] {
  const sizes = new Map(files.map(({ digest, size }) => [digest, size]));
  return [...sizes]
    .map(([digest, size]) => ({ digest, size }))
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}
