import { createHash } from 'node:crypto';
import { arch } from 'node:os';
import type { ImageName } from './client.ts';
import { ImageLayout } from './image-layout.ts';
import type { Netns } from './netns.ts';
import type { Origin } from './origin.ts';

interface Descriptor {
  readonly digest: string;
}

interface IndexFields {
  readonly manifests: readonly (Descriptor & { readonly platform: { architecture: string } })[];
}

interface ManifestFields {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface PublishOptions {
  readonly netns: Netns;
  readonly origin: Origin;
  /** What clients call the origin. */
  readonly registry: string;
  readonly repository: string;
  readonly format?: 'oci' | 'v2s2';
}

/** What an upstream holds under one tag, and what its parts are called. */
export interface PublishedImage {
  readonly byTag: ImageName;
  readonly byDigest: ImageName;
  /** The files a container of this machine's platform sees. */
  readonly files: readonly string[];
  /** Everything a pull for this machine's platform transfers, as `manifests/…` and `blobs/…`. */
  readonly parts: readonly string[];
  /** The same for all platforms. */
  readonly allParts: readonly string[];
}

export async function publishImage(options: PublishOptions): Promise<PublishedImage> {
  const { netns, origin, registry, repository, format = 'oci' } = options;
  const layout = await ImageLayout.build(netns, `${registry.replace(/\W/g, '-')}-${format}`);
  await origin.push(layout, repository, format);

  const bytes = await origin.manifest(repository, '1');
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const index = JSON.parse(bytes) as IndexFields;
  const parts = [`manifests/${digest}`];
  const allParts = [...parts];
  for (const { digest: child, platform } of index.manifests) {
    const manifest = JSON.parse(await origin.manifest(repository, child)) as ManifestFields;
    const blobs = [manifest.config, ...manifest.layers].map((blob) => `blobs/${blob.digest}`);
    allParts.push(`manifests/${child}`, ...blobs);
    const native = arch() === 'x64' ? 'amd64' : arch();
    if (platform.architecture === native) parts.push(`manifests/${child}`, ...blobs);
  }
  return {
    byTag: { registry, repository, reference: '1' },
    byDigest: { registry, repository, reference: digest },
    files: await layout.files(),
    parts: [...new Set(parts)],
    allParts: [...new Set(allParts)],
  };
}
